"""Verify a release: its files, hashes, table and headers."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from brainldm.core.findings import has_errors
from brainldm.formats import release_check
from brainldm.formats.findings_table import show


def main(folder: Annotated[Path, typer.Argument(help="folder of a release")]) -> None:
    """Print a table of findings, which name file and row of what is damaged; exit with status 1 if one is an error."""
    findings = list(release_check.check(folder))
    show(findings, Console())
    raise typer.Exit(1 if has_errors(findings) else 0)
