"""The command `brainldm manifest`: BIDS datasets and tables in, checked manifests with a record out."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from brainldm.__main__ import application
from brainldm.core.errors import BrainLDMError, ConfigError, DataError
from brainldm.formats.manifest import Entry, read_manifest
from brainldm.formats.manifest_draft import split_of

CHOICE = {"exclude": ["ce-*"], "prefer": []}
UKB = Path(__file__).parents[2] / "data_manifest/ukb.yaml"


def _run(*words: object) -> tuple[list[Entry], Any]:
    """The manifest and its record; our errors rise as they are."""
    result = CliRunner().invoke(application("manifest"), ["manifest", *map(str, words)])
    if isinstance(result.exception, BrainLDMError):
        raise result.exception
    assert result.exit_code == 0, result.output
    out = Path(str(words[words.index("--out") + 1]))
    return read_manifest(out), json.loads(out.with_suffix(".json").read_text())


def _touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"scan {name}".encode())


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Three participants: one plain, one with runs, one with sessions of their own ages."""
    folder = tmp_path / "bids"
    _touch(folder, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_T2w.nii.gz", "sub-01/anat/sub-02_T1w.nii.gz")
    _touch(folder, "sub-02/anat/sub-02_run-2_T1w.nii.gz", "sub-02/anat/sub-02_run-1_T1w.nii")
    _touch(folder, *(f"sub-03/ses-{ses}/anat/sub-03_ses-{ses}_acq-{acq}_T1w.nii.gz" for ses in ("a", "b") for acq in ("x", "y")))
    _touch(folder, "derivatives/sub-09/anat/sub-09_T1w.nii.gz")
    (folder / "sub-03/sub-03_sessions.tsv").write_text("session_id\tage\nses-a\t60.5\nses-b\t62\n")
    (folder / "participants.tsv").write_text("participant_id\tsex\tage\nsub-01\tfemale\t55\nsub-02\tM\t70\nsub-03\tMale\tn/a\n")
    return folder


def test_bids_takes_the_first_scan_of_each_participant(dataset: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        entries, record = _run("bids", dataset, "--out", dataset / "manifest.tsv")
    assert [(entry.name, entry.age_years, entry.sex) for entry in entries] == [
        ("sub-01", 55, "F"),
        ("sub-02", 70, "M"),
        ("sub-03_ses-a", 60.5, "M"),
    ]
    assert [entry.t1w.name for entry in entries] == ["sub-01_T1w.nii.gz", "sub-02_run-1_T1w.nii", "sub-03_ses-a_acq-x_T1w.nii.gz"]
    assert all(entry.t1w.is_file() for entry in entries)
    assert "sub-02/anat/sub-02_run-2_T1w.nii.gz" in record["passed_over"]
    assert len(record["passed_over"]) == 5
    assert record["passed_over"]["sub-01/anat/sub-02_T1w.nii.gz"] == "its name begins with sub-02, its folder is sub-01"
    assert record["rows"] == {"found": 3, "written": 3, "left_out": 0}
    assert record["images"] == {"found": 8, "written": 3, "left_out": 0, "passed_over": 5}
    assert "smallest 55 (sub-01_T1w.nii.gz), median 60.5 (sub-03_ses-a_acq-x_T1w.nii.gz), largest 70 (sub-02_run-1_T1w.nii)" in caplog.text


def test_bids_takes_every_session_on_request_and_one_scan_of_each(dataset: Path) -> None:
    entries, record = _run("bids", dataset, "--out", dataset / "manifest.tsv", "--sessions", "all")
    assert [(entry.name, entry.age_years) for entry in entries[2:]] == [("sub-03_ses-a", 60.5), ("sub-03_ses-b", 62)]
    assert entries[2].split == entries[3].split
    assert record["options"] == {"sessions": "all", "held_out": 0.1, "seed": 0, "skip_incomplete": False} | CHOICE
    assert sum(split["scans"] for split in record["splits"].values()) == 4
    assert sum(split["participants"] for split in record["splits"].values()) == 3


def test_bids_names_all_that_is_incomplete_at_once_and_leaves_it_out_on_request(dataset: Path) -> None:
    _touch(dataset, "sub-07/anat/sub-07_T1w.nii.gz")
    (dataset / "sub-02/anat/sub-02_run-1_T1w.nii").unlink()
    (dataset / "sub-02/anat/sub-02_run-1_T1w.nii").symlink_to("nowhere")
    with (dataset / "participants.tsv").open("a") as handle:
        handle.write("\nsub-04\tF\t50\n")
    out = dataset.parent / "manifest.tsv"
    with pytest.raises(DataError) as error:
        _run("bids", dataset, "--out", out)
    assert not out.exists()
    faults = str(error.value).splitlines()
    assert faults[0].endswith("3 fault(s); nothing is written")
    columns = [re.split(r"\s{2,}", fault.strip()) for fault in faults[2:5]]
    assert [column[0] for column in columns] == ["fault"] * 3
    places = ["participants.tsv line 3 (sub-02)", "participants.tsv line 6 (sub-04)", "no line in participants.tsv (sub-07)"]
    assert [column[1] for column in columns] == places
    assert "t1w: expected a file, found none at " in faults[2]
    assert faults[3].endswith("t1w: there is no folder sub-04")
    assert faults[4].endswith("age_years, sex: participants.tsv has no line for it. Add one.")
    assert "--skip-incomplete" in faults[-1]
    entries, record = _run("bids", dataset, "--out", out, "--skip-incomplete")
    assert [entry.name for entry in entries] == ["sub-01", "sub-03_ses-a"]
    assert list(record["left_out"]) == places
    assert record["rows"] == {"found": 5, "written": 2, "left_out": 3}
    assert record["images"] == {"found": 9, "written": 2, "left_out": 2, "passed_over": 5}
    assert entries[0].t1w == dataset / "sub-01/anat/sub-01_T1w.nii.gz"


def test_bids_without_scans_or_participants_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"participants\.tsv: expected a table, found none"):
        _run("bids", tmp_path, "--out", tmp_path / "manifest.tsv")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\nsub-1\t5\n")
    with pytest.raises(DataError, match=r"column\(s\) sex, found participant_id, age"):
        _run("bids", tmp_path, "--out", tmp_path / "manifest.tsv")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-1\t5\tF\nsub-1\t6\tF\n")
    _touch(tmp_path, "sub-1/anat/sub-1_T1w.nii.gz")
    with pytest.raises(DataError, match="sub-1 stands on lines 2 and 3; which is meant cannot be known"):
        _run("bids", tmp_path, "--out", tmp_path / "manifest.tsv")
    (tmp_path / "participants.tsv").write_text("participant_id\tage\tsex\nsub-1\t5\tF\n")
    (tmp_path / "sub-1/anat/sub-1_T1w.nii.gz").unlink()
    _touch(tmp_path, "sub-1/func/sub-1_bold.nii.gz")
    with pytest.raises(DataError, match="found no such file"):
        _run("bids", tmp_path, "--out", tmp_path / "manifest.tsv")


def _biobank(folder: Path, *changed: str, n: int = 40) -> Path:
    lines = ["eid,31-0.0,21003-0.0,21003-2.0,25004-2.0,25009-2.0"]
    lines += [f"{1000000 + i},{i % 2},50,{45 + i / 8},{30000 + 100 * i},{1400000 - i}" for i in range(n)]
    for line in changed:
        lines[int(line.split(":")[0]) - 1] = line.partition(":")[2]
    _touch(folder, *(f"t1/{1000000 + i}_20252_2_0/T1/T1.nii.gz" for i in range(n)))
    (folder / "ukb.csv").write_text("\n".join(lines) + "\n")
    return folder / "ukb.csv"


def test_uk_biobanks_table_reads_through_the_example_mapping(tmp_path: Path) -> None:
    source = _biobank(tmp_path)
    entries, record = _run("table", source, "--mapping", UKB, "--scans", tmp_path / "t1", "--out", tmp_path / "manifest.tsv")
    assert len(entries) == 40
    split = split_of("sub-1000003", 0.1, 0)
    path = tmp_path / "t1/1000003_20252_2_0/T1/T1.nii.gz"
    assert entries[3] == ("sub-1000003", path, 45.375, "M", split, "", 30.3, 1399.997)
    assert entries[2].sex == "F"
    table = pd.read_csv(tmp_path / "manifest.tsv", sep="\t")
    assert list(table) == ["participant_id", "t1w", "age_years", "sex", "ventricles_ml", "brain_ml", "split"]
    assert table["t1w"][0] == "t1/1000000_20252_2_0/T1/T1.nii.gz"
    assert record["source"]["table_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert record["manifest_sha256"] == hashlib.sha256((tmp_path / "manifest.tsv").read_bytes()).hexdigest()


def test_all_faults_of_a_table_are_named_by_its_lines(tmp_path: Path) -> None:
    changed = ("3:1000001,3,50,,1,1", "", "5:1000002,0,50,60,,", "9:1000099,0,50,60,x,2")
    source = _biobank(tmp_path, *(line for line in changed if line))
    out = tmp_path / "manifest.tsv"
    with pytest.raises(DataError) as error:
        _run("table", source, "--mapping", UKB, "--scans", tmp_path / "t1", "--out", out)
    assert [" ".join(fault.split()[1:4]) for fault in str(error.value).splitlines()[2:-1]] == [
        "line 3 age_years:",
        "line 3 sex:",
        "line 5 participant_id:",
        "line 5 t1w:",
        "line 9 t1w:",
        "line 9 ventricles_ml:",
    ]
    with pytest.raises(DataError, match="1000002 stands on line 4 already"):
        _run("table", source, "--mapping", UKB, "--scans", tmp_path / "t1", "--out", out, "--skip-incomplete")
    assert not list(tmp_path.glob("*manifest*"))


def _table(folder: Path, text: str, mapping: str, *options: str) -> tuple[list[Entry], Any]:
    (folder / "t.txt").write_text(text)
    (folder / "m.yaml").write_text(mapping)
    return _run("table", folder / "t.txt", "--mapping", folder / "m.yaml", "--out", folder / "out/manifest.tsv", *options)


MAPPING = "participant_id: id\nt1w: {column: file}\nage_years: {column: months, scale: 0.08333333333}\nsex: sex\nsession: visit\n"


def test_a_table_of_any_separator_with_visits_blank_lines_and_odd_names(tmp_path: Path) -> None:
    _touch(tmp_path, "a.nii", "b.mgz", "c.nii.gz")
    text = (
        "\ufeffid;file;months;sex;visit;note\n007;a.nii;600; F ;1.0;x\n;;;;;\n007;b.mgz;612;female;2;\nA-0_8;c.nii.gz;720;MALE;base line;\n"
    )
    entries, _ = _table(tmp_path, text, MAPPING)
    assert [entry.name for entry in entries] == ["sub-007_ses-1", "sub-007_ses-2", "sub-A08_ses-baseline"]
    assert [round(entry.age_years, 3) for entry in entries] == [50, 51, 60]
    assert [entry.sex for entry in entries] == ["F", "F", "M"]
    assert entries[0].split == entries[1].split
    assert entries[1].t1w == tmp_path / "b.mgz"
    with pytest.raises(DataError, match=r"line 4  t1w: expected a file"):
        _table(tmp_path, text.replace("b.mgz", "none.mgz"), MAPPING)


@pytest.mark.parametrize(
    ("mapping", "cause"),
    [
        ("participant_id: id", "t1w: Field required"),
        (MAPPING + "weight: kg", "weight: Extra inputs"),
        (MAPPING.replace("sex: sex", "sex: {column: sex, scale: 2}"), "not for sex"),
        ("t1w: {eid}_T1.nii.gz", "expected YAML"),
        ("- a list", "fault"),
    ],
)
def test_a_faulty_mapping_is_named(tmp_path: Path, mapping: str, cause: str) -> None:
    with pytest.raises(ConfigError, match=cause) as error:
        _table(tmp_path, "id,file\n", mapping)
    assert "m.yaml" in str(error.value)


def test_missing_columns_and_empty_tables_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.txt: expected the column\(s\) months, sex, visit, found id, file"):
        _table(tmp_path, "id,file\n1,a.nii\n", MAPPING)
    with pytest.raises(DataError, match="expected a scan that can be used"):
        _table(tmp_path, "id,file,months,sex,visit\n", MAPPING)
    with pytest.raises(DataError, match="found nothing"):
        _table(tmp_path, "", MAPPING)
    with pytest.raises(DataError, match=r"something\.tsv, found 'x\.json'"):
        _run("table", _biobank(tmp_path), "--mapping", UKB, "--scans", tmp_path / "t1", "--out", tmp_path / "x.json")


def test_a_split_depends_on_the_participant_and_the_seed_alone(tmp_path: Path) -> None:
    options = ("--mapping", UKB, "--scans", tmp_path / "t1", "--out", tmp_path / "manifest.tsv", "--held-out", "0.3")
    few, _ = _run("table", _biobank(tmp_path, n=30), *options)
    many, record = _run("table", _biobank(tmp_path, n=200), *options)
    assert [entry.split for entry in few] == [entry.split for entry in many[:30]]
    assert record["splits"]["test"]["scans"] == sum(entry.split == "test" for entry in many)
    assert 40 < record["splits"]["test"]["scans"] < 80
    other, _ = _run("table", _biobank(tmp_path, n=200), *options, "--seed", "1")
    assert [entry.split for entry in other] != [entry.split for entry in many]


def test_the_share_held_out_grows_without_moving_anyone_back() -> None:
    people = [f"sub-{number}" for number in range(4000)]
    tests = [{who for who in people if split_of(who, share, 0) == "test"} for share in (0.0, 0.1, 0.2, 1.0)]
    assert not tests[0]
    assert tests[1] < tests[2]
    assert len(tests[1]) == pytest.approx(400, abs=60)
    assert len(tests[3]) == 4000
