"""What is odd in a source of scans, as one table that a person reads: faults, rows left out, files passed over, and notes."""

import re
from collections.abc import Iterable
from typing import NamedTuple

FAULT, LEFT_OUT, PASSED_OVER, NOTE = "fault", "left out", "passed over", "note"
ORDER = (FAULT, LEFT_OUT, PASSED_OVER, NOTE)
MOST_NAMED = {FAULT: 20, LEFT_OUT: 20, PASSED_OVER: 3, NOTE: 3}  # places with one and the same oddity
HEADER = ("", "where", "what")
WIDEST = 76  # characters of a column
MOST_LISTED = 100  # lines; a table whose column is wrong has one in every row


class Oddity(NamedTuple):
    """One of them: what became of it, where it is (a line, a file), and what it is."""

    kind: str
    where: str
    what: str


def shown(oddities: Iterable[Oddity]) -> str:
    """Return a table, a line for each of them; what is odd in the same way in many places is one line."""
    grouped: dict[tuple[str, str], list[str]] = {}
    for oddity in sorted(oddities, key=lambda one: ORDER.index(one.kind)):
        places = grouped.setdefault((oddity.kind, oddity.what), [])
        if oddity.where not in places:
            places.append(oddity.where)
    if not grouped:
        return ""
    rows = [(kind, _named(places, MOST_NAMED[kind]), what) for (kind, what), places in grouped.items()]
    table = [HEADER, *rows[:MOST_LISTED]]
    widths = [min(max(len(row[column]) for row in table), WIDEST) for column in (0, 1)]
    lines = [f"  {kind:<{widths[0]}}  {where:<{widths[1]}}  {what}" for kind, where, what in table]
    more = [f"  ... and {len(rows) - MOST_LISTED} more"] if len(rows) > MOST_LISTED else []
    return "\n".join([*lines, *more])


def _named(places: list[str], most: int) -> str:
    """Return places as one text: those of one line together, as in `participants.tsv line 3 (sub-02_ses-1, sub-02_ses-2)`."""
    together: dict[str, list[str]] = {}
    for place in places[:most]:
        found = re.fullmatch(r"(.+) \((.+)\)", place)
        together.setdefault(found[1] if found else place, []).extend([found[2]] if found else [])
    texts = [f"{place} ({', '.join(names)})" if names else place for place, names in together.items()]
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(texts) + more
