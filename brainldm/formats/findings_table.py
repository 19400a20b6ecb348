"""What doctor and plan tell, shown to a person: tables, and below findings the cause and the remedy of whatever is not well."""

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from brainldm.core.findings import Finding, size
from brainldm.core.printable import printable_lines

COLOURS = {"ok": "green", "warning": "yellow", "error": "red"}


def show(findings: Iterable[Finding], console: Console) -> None:
    """Print them in their order."""
    listed = list(findings)
    table = Table("check", "found", "verdict")
    for finding in listed:
        table.add_row(_text(finding.check), _text(finding.found), Text(finding.verdict, COLOURS[finding.verdict]))
    console.print(table)
    for finding in listed:
        if finding.verdict != "ok":
            head = Text(f"\n{finding.verdict}: {printable_lines(finding.check)}", COLOURS[finding.verdict])
            console.print(head, soft_wrap=True)
            told = f"  cause:  {printable_lines(finding.cause)}\n  remedy: {printable_lines(finding.remedy)}"
            console.print(Text(told), soft_wrap=True, highlight=False)


def _text(value: str) -> Text:
    """Return a cell of a table in which neither markup nor a control character counts: names may be a stranger's."""
    return Text(printable_lines(value))


def show_plan(told: dict[str, Any], console: Console) -> None:
    """Print what `brainldm plan` tells: seconds of the work on a volume, jobs and hours by stage, disk, and the end."""
    unit = f"{told['hours_of']}-hours"
    work = Table(
        "work on a volume", "seconds", "timed on", title=told["device"] + (f", {told['threads']} threads" if told["threads"] else "")
    )
    for name, found in told["work"].items():
        share = found["measured"]
        work.add_row(name, f"{found['seconds']:.3g}", f"{share:g} at once" if share >= 1 else f"{share:.1%} of one, and extrapolated")
    stages = Table("stage", "jobs", unit)
    for stage, count in told["jobs"].items():
        hours = told["stage_hours"].get(stage)
        stages.add_row(stage, str(count), "" if hours is None else f"{hours:,.3g}")
    disk = Table("below results/", "disk, at most")
    for name, n_bytes in told["disk_bytes"].items():
        disk.add_row(name, size(n_bytes))
    console.print(work, stages, disk)
    rate = f"{told['volumes_per_hour']:.3g} an hour on {told['devices']} device(s)"
    missing = "" if "preprocess" in told["jobs"] else "; no manifest yet: jobs and disk of the scans are not counted"
    console.print(
        f"{told['n_rows']:,} volumes in {told['n_shards']:,} shards, {rate}, "
        f"{told['hours']:,.3g} {unit}; started now, it ends {told['ends']}, after {told['wall_hours']:,.3g} h{missing}",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    more = ", ".join(f"snakemake {stage}: {count} jobs more" for stage, count in told["optional_jobs"].items())
    console.print(f"optional: {more}", soft_wrap=True, highlight=False)
