"""Names of participants and sessions as in BIDS: made from cells, matched exactly, and near misses told in words."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from brainldm.formats.oddities import NOTE, Oddity

LABEL = r"[A-Za-z0-9+]+"  # BIDS 1.11: letters, digits, plus signs
ID_PATTERN = rf"sub-{LABEL}"  # becomes part of file names
SESSION_PATTERN = rf"ses-{LABEL}"
SHORTENED = re.compile(r"\d(\.\d+)?[eE]\+\d+")


def whole(value: Any) -> str:
    """Return '1' for '1.0': codes and names that some program took for floats; other texts as they are."""
    return re.sub(r"^(-?\d+)\.0+$", r"\1", str(value).strip())


def label(prefix: str, value: str | None) -> str | None:
    """Return 'sub-A01' for 'A-01' or 'sub-A01': the prefix, then letters, digits and plus signs; None where none is left."""
    kept = re.sub(r"[^A-Za-z0-9+]", "", whole(value or "").removeprefix(f"{prefix}-"))
    return f"{prefix}-{kept}" if kept else None


def label_fault(prefix: str, value: str | None) -> str | None:
    """Return why a cell cannot become a name, or None: letters that BIDS does not have, or a number that a spreadsheet shortened."""
    if value is None:
        return None
    if SHORTENED.fullmatch(value):
        return f"{value!r} is a number that a spreadsheet shortened; other names may have become the same. Take it from the original."
    if not (value.isascii() and value.isprintable()):
        return f"{value!r} has characters that no BIDS label has. Use letters and digits without accents."
    if label(prefix, value) is None:
        return f"{value!r} has no letter or digit. Write a name, or n/a."
    return None


def difference(one: str, other: str) -> str | None:
    """Return in what alone two names differ that may be meant to be one, such as 'leading zeros'; None for others."""
    if one == other or skeleton(one) != skeleton(other):
        return None
    kinds = {
        "the prefix": _bare(one) == _bare(other),
        "case": one.casefold() == other.casefold(),
        "leading zeros": _zeroless(one) == _zeroless(other),
        "the prefix and leading zeros": _zeroless(_bare(one)) == _zeroless(_bare(other)),
    }
    return next((kind for kind, is_it in kinds.items() if is_it), "zeros, case, prefix or punctuation")


def alike(names: Iterable[str]) -> dict[str, list[str]]:
    """Return names grouped by their `skeleton`."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(skeleton(name), []).append(name)
    return groups


def skeleton(name: str) -> str:
    """Return what is left of a name without prefix, case, leading zeros and punctuation: the same for names that may be meant to be one."""
    bare = re.sub(r"^(sub|ses)[-_]?", "", whole(name).casefold())
    return _zeroless(re.sub(r"[^a-z0-9+]", "", bare))


def natural(name: str) -> tuple[tuple[int, str], ...]:
    """Return what sorts names with the numbers in them as numbers: ses-2 before ses-10."""
    return tuple((int(digits or 0), text) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name))


def near_misses(names: Iterable[str | None]) -> Iterator[Oddity]:
    """Return notes on participants whose names differ so little that they may be one person, who must not be in two splits."""
    for group in alike(dict.fromkeys(name for name in names if name)).values():
        if len(group) > 1:
            what = difference(group[0], group[1])
            yield Oddity(NOTE, ", ".join(group), f"names that differ in {what} are taken for different people")


def _bare(name: str) -> str:
    return re.sub(r"^(sub|ses)-", "", name)


def _zeroless(name: str) -> str:
    return re.sub(r"(?<!\d)0+(?=\d)", "", whole(name))
