"""What the jobs of a run have used, stage by stage, from the benchmarks that Snakemake writes (psutil; memory in MiB)."""

import csv
from collections.abc import Iterator
from pathlib import Path

from brainldm.core.story import STORY
from brainldm.formats import html

COLUMNS = ("s", "cpu_time", "max_rss")


def chapter(folder: Path) -> str:
    """The table of results/benchmarks, less the report's own, which would make the next report another; nothing without benchmarks."""
    rows = [line for stage in STORY if stage != "report" and (line := _line(stage, list(_jobs(folder / stage))))]
    note = "Of the last time that each job ran; a job of a second or two may be too short to be measured."
    table = html.table(("stage", "jobs", "in all (h:min:s)", "longest", "CPU time", "most memory (GB)"), rows)
    return html.section("What did it cost?", table, html.paragraph(note)) if rows else ""


def _jobs(folder: Path) -> Iterator[dict[str, float]]:
    """COLUMNS of every job of a stage; what was not measured counts as nothing."""
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as handle:
            for found in csv.DictReader(handle, delimiter="\t"):
                yield {name: _number(found.get(name)) for name in COLUMNS}


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:  # "-" or "NA"
        return 0.0


def _line(stage: str, jobs: list[dict[str, float]]) -> tuple[str, ...] | None:
    if not jobs:
        return None
    seconds, cpu_seconds, memory_mib = ([job[name] for job in jobs] for name in COLUMNS)
    times = (_clock(value) for value in (sum(seconds), max(seconds), sum(cpu_seconds)))
    return stage, f"{len(jobs):,}", *times, f"{max(memory_mib) * 2**20 / 1e9:.2f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:,}:{minutes % 60:02}:{rest:02}"
