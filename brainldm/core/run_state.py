"""Where a run stands, from what lies on disk: outputs, logs, benchmarks, and Snakemake's marks of what it has begun.

Snakemake marks outputs as incomplete while their job runs, holds a lock while it runs itself, and removes what a failed job has written.
"""

import base64
import binascii
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from brainldm.core.config import Config
from brainldm.core.project import WORKFLOW
from brainldm.core.projection import jobs as planned
from brainldm.core.rows import batch_names, shard_names
from brainldm.core.story import BASELINES, OPTIONAL, STORY

STATES = ("done", "running", "interrupted", "failed", "missing")


class Job(NamedTuple):
    """A job of a stage: its state, its log, and once it is done its seconds and when it ended (seconds since 1970)."""

    stage: str
    name: str
    state: str
    log: Path
    seconds: float | None = None
    ended: float | None = None


class Progress(NamedTuple):
    """A stage's jobs by state, jobs an hour (None until one is done) and hours left at that rate."""

    counts: dict[str, int]
    per_hour: float | None
    hours_left: float | None


def jobs(config: Config, n_scans: int | None, folder: Path) -> Iterator[Job]:
    """Every job of a run in `folder`, in story order: those of batches only where the number of scans is known.

    Optional stages follow where they have been asked for.
    """
    shards = shard_names(config.request.n_rows, config.request.rows_per_shard)
    names = {"shard": shards, "batch": batch_names(n_scans or 0, config.preprocess.scans_per_batch), "baseline": BASELINES}
    begun, locked = _begun(folder), any((folder / ".snakemake/locks").glob("*"))
    asked_for = (stage for stage in OPTIONAL if (folder / "logs" / stage).exists())
    stages = [stage for stage in planned(config, n_scans) if stage in STORY]  # the key of the requests is no stage
    for stage in (*stages, *asked_for):
        patterns = _patterns(stage)
        if not config.release.sample:  # an output of the rule on this condition alone
            patterns["output"] = [text for text in patterns["output"] if not text.startswith("results/release-sample/")]
        wildcard = next((word for word in names if f"{{{word}}}" in patterns["log"][0]), None)
        for name in names[wildcard] if wildcard else [stage]:
            paths = {kind: [folder / text.replace(f"{{{wildcard}}}", name) for text in texts] for kind, texts in patterns.items()}
            yield _job(stage, name, paths, bool(begun & set(paths["output"])), locked)


def _job(stage: str, name: str, paths: dict[str, list[Path]], begun: bool, locked: bool) -> Job:
    log, outputs = paths["log"][0], paths["output"]
    if begun:
        return Job(stage, name, "running" if locked else "interrupted", log)
    if not all(path.exists() for path in outputs):
        return Job(stage, name, "failed" if log.exists() else "missing", log)
    return Job(stage, name, "done", log, _seconds(paths["benchmark"][0]), max(path.stat().st_mtime for path in outputs))


def _patterns(stage: str) -> dict[str, list[str]]:
    """The output, log and benchmark files of a stage's rule, the first of its file, with wildcards, relative to the project's folder."""
    text = (WORKFLOW / f"workflow/rules/{stage}.smk").read_text(encoding="utf-8")
    blocks = {kind: re.search(rf"\n    {kind}:\n((?:        .*\n)+)", text) for kind in ("output", "log", "benchmark")}
    return {kind: re.findall(r'"((?:results|logs)/[^"]+)"', found.group(1)) for kind, found in blocks.items() if found}


def _begun(folder: Path) -> set[Path]:
    """Outputs that Snakemake marks as incomplete; the name of a mark is the path in base64, its parts in folders that begin with @."""
    base, found = folder / ".snakemake/incomplete", set()
    for mark in filter(Path.is_file, base.rglob("*")):
        try:
            found.add(folder / base64.urlsafe_b64decode("".join(part.removeprefix("@") for part in mark.relative_to(base).parts)).decode())
        except (binascii.Error, UnicodeDecodeError):  # a file of another kind
            continue
    return found


def _seconds(benchmark: Path) -> float | None:
    """The column `s` of a benchmark; nothing where Snakemake has written none."""
    try:
        with benchmark.open(encoding="utf-8", newline="") as handle:
            return float(next(csv.DictReader(handle, delimiter="\t"))["s"])
    except (OSError, StopIteration, KeyError, ValueError):
        return None


def progress(found: list[Job]) -> Progress:
    """Of one stage. The rate is that of the ends of jobs, where several are done, so that it counts those that work side by side."""
    counts = {state: sum(job.state == state for job in found) for state in STATES}
    ends = sorted(job.ended for job in found if job.ended is not None)
    seconds = [job.seconds for job in found if job.seconds]
    per_hour = 3600 / median(seconds) if seconds else None
    if seconds and len(ends) > 1 and ends[-1] - ends[0] >= median(seconds):
        per_hour = 3600 * (len(ends) - 1) / (ends[-1] - ends[0])
    left = len(found) - counts["done"]
    return Progress(counts, per_hour, left / per_hour if per_hour and left else None)


def last_words(log: Path) -> str:
    """The last error that a log tells, else its last line."""
    try:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except OSError:
        return ""
    told = [line for line in lines if re.search(r"error", line, re.IGNORECASE)]
    return (told or lines or [""])[-1]
