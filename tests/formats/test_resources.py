"""Benchmarks become one line for each stage, in the order of the story; what was not measured counts as nothing."""

from pathlib import Path

from brainldm.formats.resources import chapter

HEAD = "s\th:m:s\tmax_rss\tcpu_time\n"


def test_jobs_are_summed_by_stage(tmp_path: Path) -> None:
    for stage, jobs in {
        "report": ["9\t0:00:09\t9\t9"],
        "pack": ["7200\t2:00:00\t1000\t360"],
        "generate": ["3600\t1:00:00\t4000\t3600", "1\t0:00:01\t-\tNA"],
    }.items():
        (tmp_path / stage).mkdir()
        for number, job in enumerate(jobs):
            (tmp_path / stage / f"{number}.tsv").write_text(f"{HEAD}{job}\n")
    text = chapter(tmp_path)
    lines = [line.replace("</td>", " ").replace("<td>", "").split() for line in text.split("<tr>")[2:]]
    assert [line[:6] for line in lines] == [
        ["generate", "2", "1:00:01", "1:00:00", "1:00:00", "4.19"],
        ["pack", "1", "2:00:00", "2:00:00", "0:06:00", "1.05"],
    ]


def test_without_benchmarks_there_is_no_chapter(tmp_path: Path) -> None:
    assert chapter(tmp_path / "none") == ""
