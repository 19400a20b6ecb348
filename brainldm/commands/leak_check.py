"""Search a folder that will be published for anything of a participant, of a key or of this machine."""

from pathlib import Path
from typing import Annotated

import typer

from brainldm.formats.leaks.check import findings


def main(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="what will be published: a release, or any other folder")],
    covariates: Annotated[Path, typer.Option(help="table of the training scans (TSV with participant_id and covariates)")],
    key: Annotated[list[Path] | None, typer.Option(help="file of a key that must stay secret; repeat for every key")] = None,
    manifest: Annotated[Path | None, typer.Option(help="table of the raw scans: its paths and other columns are searched for too")] = None,
    jobs: Annotated[int, typer.Option(help="processes that search at once", min=1)] = 1,
) -> None:
    """Print every finding with file and place, and every file that cannot be read; exit with status 1 if there is one."""
    number = 0
    for finding in findings(folder, covariates, key or (), manifest, jobs):
        typer.echo(str(finding))
        number += 1
    if number:
        typer.echo(f"{number} finding(s): do not publish {folder}.", err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder}: nothing of the training scans, of a key or of this machine was found.")
