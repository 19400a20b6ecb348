"""Run the workflow in this folder, as `snakemake` does."""

import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from brainldm.core.config import Config
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.printable import printable
from brainldm.core.project import CONFIG, SNAKEFILE, check_results
from brainldm.formats.scan_check import check_manifest
from brainldm.formats.settings import read_config, read_values


def main(
    targets: Annotated[
        list[str] | None, typer.Argument(metavar="[TARGET]...", help="files to make; after --, options of snakemake")
    ] = None,
    cores: Annotated[str | None, typer.Option("--cores", "-c", help="of this machine; all by default, unless a profile says")] = None,
    profile: Annotated[str | None, typer.Option(help="a folder of profiles/, such as slurm")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", "-n", help="only tell what would be run")] = False,
) -> None:
    """Everything up to the release and the report, or the targets; what is done and unchanged is not run again."""
    for path in configurations(targets or []):
        check_keys(path)
    if not any(word.startswith("--config") for word in targets or []):  # another configuration than the folder's
        check(Path())
    os.execv(sys.executable, [sys.executable, "-m", "snakemake", *arguments(Path(), targets or [], cores, profile, dry_run)])


def check(folder: Path) -> None:
    """What would stop the run some stages on: a faulty configuration, results of another version, scans that no model can learn from."""
    if not (folder / CONFIG).is_file():
        return
    config = read_config(folder / CONFIG)
    check_results(folder)
    if config.source.manifest:
        findings, _ = check_manifest(folder / config.source.manifest, config)
        if faults := "; ".join(f"{found.cause}; {found.remedy}" for found in findings if found.verdict == "error"):
            raise DataError(faults)
        for found in findings:
            if found.check == "ages":
                logging.info("%s", found.found)


def configurations(words: list[str]) -> list[Path]:
    """The files that options for snakemake name as configurations."""
    found: list[Path] = []
    reading = False
    for word in words:
        option, _, value = word.partition("=")
        if word.startswith("-"):
            reading = option in ("--configfile", "--configfiles")
            found += [Path(value)] if reading and value else []
        elif reading:
            found.append(Path(word))
    return found


def check_keys(path: Path) -> None:
    """ConfigError for a file that is no YAML of ours: Snakemake would expand its aliases, and run what a key `__use_yte__` lets it."""
    if unknown := [printable(key, 60) for key in read_values(path) if key not in Config.model_fields]:
        raise ConfigError(f"{path}: {unknown[0]}: unknown key. A configuration holds sections of ours only.")


def arguments(folder: Path, targets: list[str], cores: str | None, profile: str | None, dry_run: bool) -> list[str]:
    """What snakemake is told; ConfigError where `folder` is no project or has no such profile."""
    if not (folder / CONFIG).is_file():
        raise ConfigError(f"{folder.absolute()}: expected a project, found no {CONFIG}; `brainldm init DIR` makes one")
    own, options = folder / "Snakefile", []
    options += ["--snakefile", str(own if own.is_file() else SNAKEFILE)]
    if profile is not None:
        if not (folder / "profiles" / profile / CONFIG).is_file():
            known = ", ".join(sorted(path.parent.name for path in folder.glob(f"profiles/*/{CONFIG}")))
            raise ConfigError(f"--profile: expected a folder of profiles/ ({known or 'there is none'}), found {profile!r}")
        options += ["--workflow-profile", str(folder / "profiles" / profile)]
    if cores is not None or profile is None:
        options += ["--cores", cores or "all"]
    return [*options, *(["--dry-run"] if dry_run else []), *targets]
