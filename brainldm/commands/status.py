"""Where the run in this folder stands, from what lies on disk: a workstation, or the login node of a cluster."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from brainldm.core.config import Config
from brainldm.core.errors import ConfigError
from brainldm.core.project import CONFIG
from brainldm.core.rows import count_scans
from brainldm.core.run_state import STATES, Progress, jobs, last_words, progress
from brainldm.formats.settings import read_config

TOLD = ("failed", "interrupted", "running")  # jobs that are named, of each kind at most MOST
MOST = 10


def main(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="the project's folder")] = Path(),
    config: Annotated[Path | None, typer.Option(help="configuration; the folder's config.yaml by default")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON instead of tables")] = False,
) -> None:
    """What is done, running, failed and missing in each stage; rates, time left, the last error of what failed, and its log."""
    asked = read_config(config or folder / CONFIG)
    found = list(jobs(asked, _n_scans(asked, folder), folder))
    stages = {stage: progress([job for job in found if job.stage == stage]) for stage in dict.fromkeys(job.stage for job in found)}
    named = {state: [job for job in found if job.state == state] for state in TOLD}
    if as_json:
        listed = [{"stage": job.stage, "name": job.name, "state": job.state, "log": str(job.log)} for job in found if job.state in TOLD]
        typer.echo(json.dumps({"stages": {stage: each._asdict() for stage, each in stages.items()}, "jobs": listed}, indent=2))
        return
    console = Console()
    console.print(_table(stages))
    for state, several in named.items():
        for job in several[:MOST]:
            console.print(f"{state}: {job.stage} {job.name}: {last_words(job.log)}\n  log: {job.log}", soft_wrap=True, markup=False)
        if len(several) > MOST:
            console.print(f"{state}: and {len(several) - MOST} more")
    if asked.source.kind == "manifest" and "preprocess" not in stages:
        console.print(f"the manifest {asked.source.manifest} is not there yet: jobs of scans are not counted", soft_wrap=True)


def _table(stages: dict[str, Progress]) -> Table:
    table = Table("stage", *STATES, "jobs/h", "h left", box=None, pad_edge=False, collapse_padding=True)  # within 80 columns
    for stage, found in stages.items():
        figures = ("" if value is None else f"{value:,.1f}" for value in (found.per_hour, found.hours_left))
        table.add_row(stage, *(str(found.counts[state] or "") for state in STATES), *figures)
    return table


def _n_scans(config: Config, folder: Path) -> int | None:
    """Nothing where the manifest is not there yet."""
    if config.source.kind == "cohort" or config.source.manifest is None:
        return config.cohort.n_subjects
    try:
        return count_scans(str(folder / config.source.manifest))
    except ConfigError:
        return None
