"""What a check found: a verdict, and for what is not well its cause and its remedy."""

from collections.abc import Iterable
from typing import Literal, NamedTuple

Verdict = Literal["ok", "warning", "error"]


class Finding(NamedTuple):
    """One line of `brainldm doctor`."""

    check: str
    found: str
    verdict: Verdict = "ok"
    cause: str = ""
    remedy: str = ""


def warning(check: str, found: str, cause: str, remedy: str) -> Finding:
    """The run would end, but perhaps not well."""
    return Finding(check, found, "warning", cause, remedy)


def error(check: str, found: str, cause: str, remedy: str) -> Finding:
    """The run would fail, or its results would be worthless."""
    return Finding(check, found, "error", cause, remedy)


def has_errors(findings: Iterable[Finding]) -> bool:
    """Whether one of them is an error."""
    return any(finding.verdict == "error" for finding in findings)


def size(n_bytes: float) -> str:
    """Bytes for a person: 58.9 GB, 12 MB."""
    return f"{n_bytes / 1e9:.1f} GB" if n_bytes >= 1e9 else f"{n_bytes / 1e6:.0f} MB"
