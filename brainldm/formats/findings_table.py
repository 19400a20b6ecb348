"""Findings shown to a person: a table, and below it the cause and the remedy of whatever is not well."""

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from brainldm.core.findings import Finding

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print them in their order."""
    listed = list(findings)
    table = Table("check", "found", "verdict")
    for finding in listed:
        table.add_row(finding.check, finding.found, f"[{COLOURS[finding.verdict]}]{finding.verdict}[/]")
    console.print(table)
    for finding in listed:
        if finding.verdict != "ok":
            console.print(f"\n{finding.verdict}: {finding.check}", style=COLOURS[finding.verdict], soft_wrap=True, markup=False)
            console.print(f"  cause:  {finding.cause}\n  remedy: {finding.remedy}", soft_wrap=True, markup=False, highlight=False)
