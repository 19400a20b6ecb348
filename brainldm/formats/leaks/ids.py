"""Ids of participants in a text, in any common spelling: with and without prefix, zeros, separators and capitals."""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache
from typing import NamedTuple

_PART = re.compile(r"\d+|[^\W\d_]+")
_DIGITS = re.compile(r"\d+", re.ASCII)
_LETTERS = re.compile(r"[^\W\d_]{3,}")
_DIGEST = re.compile(r"(?<![0-9A-Za-z])[0-9a-f]{32,64}(?![0-9A-Za-z])")
_SEPARATOR = r"[\W_]{0,3}"
LONG_NUMBER = 5  # digits: a number of fewer is a count as often as an id
_QUOTES = ("'", '"')
_ALONE = 64  # characters, at most, of a text that is nothing but a label
_SHORTEST = 3  # digits of a label that stands alone, as a value or a name
_ZEROED = 4  # digits of a label that begins with a zero, as no count does
_RELEASED_DIGITS = 6  # of a synthetic participant's name

# What stands around a number that is no id.
_COUNTED = re.compile(
    r"(?:^|[\W_])(?:index|noise_index|seed|attempt|attempts|steps|length|piece length|creation date|size|total|batch_size|n"
    r"|n_\w+|\w+_n|num_\w+|\w*bytes|\w*offset|year|publicationYear)[\"'*]{0,2}\s*[:=|]\s*[\"']?$",
    re.IGNORECASE,
)
_UNIT = re.compile(
    r"\s?(?:[kMGT]i?B|B|bytes?|bits?|volumes?|rows?|voxels?|files?|mL|mm3?|years?|steps?|scans?|pairs?|draws?|people"
    r"|participants?|subjects?|images?|parameters?)(?![^\W_])",
    re.IGNORECASE,
)
_NAMED = re.compile(
    r"(?:^|[\W\d_])(?:sub|subj|subject|participant|patient|pat|pt|person|proband|volunteer|eid)"
    r"(?:[\W_]{0,2}(?:id|no|nr|number|label|name))?[\W_]{0,5}$",
    re.IGNORECASE,
)
_POINT_BEFORE = re.compile(r"(?:^|[^\w)\]])\.$|\d\.$|\de[+-]?$")
_POINT_AFTER = re.compile(r"\.(?!0+(?!\d))\d")
_GLUED = re.compile(r"(?:s|p|pt|pat|id|eid|case|subj?|subject|participant|patient|vp|scan)", re.IGNORECASE)
_NO_IDS = re.compile(
    r"(?<![\w-])(?:(?P<checked>\d{4}-(?:\d{4}-\d{4}-)?\d{3}[\dx])"  # ORCID, ISSN
    r"|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"  # UUID
    r"|97[89](?:-?\d){10})(?![\w-])"  # ISBN
    r"|(?<![\w-])0\d{3}-\d\d-\d\d(?!\d)"  # date
    r"|(?<=\d:\d\d)(?:\.\d+)?[+-]\d{4}(?!\d)|(?<=\d:\d\d:\d\d)[+-]\d{4}(?!\d)"  # time zone
    r"|(?<!\w)\+[1-9]\d{0,2}(?:[ ()/-]{0,2}\d{2,5}){2,5}"  # telephone
)


class Needle(NamedTuple):
    """An id as it is searched for: its runs of digits and letters; `label` if it was cut from a longer id."""

    shown: str
    parts: tuple[str, ...]
    label: bool

    @property
    def digits(self) -> str:
        """Return the digits of an id that has no letters, else nothing."""
        return "" if any(not part.isdigit() for part in self.parts) else "".join(self.parts)

    @property
    def length(self) -> int:
        """Return the number of its letters and digits."""
        return sum(map(len, self.parts))


def needles(value: str) -> Iterator[Needle]:
    """Yield what an id is searched for as: itself, and its label without a prefix such as `sub-`."""
    parts = parts_of(value)
    if not parts:
        return
    yield Needle(value, parts, label=False)
    if len(parts) > 1 and not parts[0].isdigit():
        label = parts[1:]
        if any(part.isdigit() for part in label) and (len(label) > 1 or re.match(r"[^\W\d_]+[\W_]*\d", folded(value))):
            yield Needle(value, label, label=True)


def parts_of(value: str) -> tuple[str, ...]:
    """Return the runs of digits and of letters in a value, in small letters."""
    return tuple(_PART.findall(folded(value)))


def folded(text: str) -> str:
    """Return a text in small letters; full-width letters and digits become ordinary ones."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()


class IdSearch:
    """Searches texts for ids; `n_released` synthetic participants have the names sub-000001 and so on."""

    def __init__(self, ids: Iterable[str], n_released: int) -> None:
        self.n_released = n_released
        self.by_digits: dict[str, list[Needle]] = {}
        self.by_letters: dict[str, list[Needle]] = {}
        self.digests: dict[str, str] = {}
        for value in ids:
            taken = self.is_taken(value)
            for needle in needles(value):
                if not (taken and needle.label):
                    self._add(needle)
            for spelled in {value, value.lower(), re.sub(r"^sub-", "", value)}:
                for name in ("md5", "sha1", "sha256"):
                    self.digests[hashlib.new(name, spelled.encode(), usedforsecurity=False).hexdigest()] = value

    def is_taken(self, value: str) -> bool:
        """Return whether an id begins with the name of a synthetic participant: its number alone cannot be told from that one's."""
        found = re.match(r"sub-(\d{6})(?!\d)", value)
        return found is not None and 1 <= int(found[1]) <= self.n_released

    def _add(self, needle: Needle) -> None:
        numbers = [part for part in needle.parts if part.isdigit()]
        if not numbers:
            longest = max(needle.parts, key=len)
            if needle.length >= 3:
                self.by_letters.setdefault(longest, []).append(needle)
            return
        anchor = max(numbers, key=len)
        if needle.digits and len(needle.digits) < 2:
            return
        self.by_digits.setdefault(anchor.lstrip("0") or "0", []).append(needle)

    def find(self, text: str, shortest: int = 0, is_name: bool = False) -> Iterator[str]:
        """Yield the ids that stand in a text or a file's name; with `shortest`, only spellings of so many letters and digits."""
        text = self._without_names_of_others(folded(text))
        for found in _DIGITS.finditer(text):
            for needle in self.by_digits.get(found[0].lstrip("0") or "0", ()):
                other = len(found[0]) == _RELEASED_DIGITS and found[0] not in needle.parts
                synthetic = other and (needle.parts[0] == "sub" or text.endswith("sub-", 0, found.start()))
                if needle.length >= shortest and not synthetic and _stands(needle, text, found.start(), found.end(), is_name):
                    yield needle.shown
        if self.by_letters:
            for found in _LETTERS.finditer(text):
                for needle in self.by_letters.get(found[0], ()):
                    if needle.length >= shortest and _whole(needle, text, found.start(), found.end()):
                        yield needle.shown
        for found in _DIGEST.finditer(text):
            if found[0] in self.digests:
                yield f"{self.digests[found[0]]} as its hash"

    def _without_names_of_others(self, text: str) -> str:
        """Return the text without the names of synthetic participants, of shards, and numbers that name something else."""
        if self.n_released:
            text = re.sub(r"sub[-_]?(\d{6})(?!\d|[\W_]{0,2}ses)", self._synthetic, text)
            text = re.sub(r"(?<!\d)(\d{6})-(\d{6})(?!\d)", self._shard, text)
        return _NO_IDS.sub(_other_number, text)

    def _synthetic(self, found: re.Match[str]) -> str:
        return "#" if 1 <= int(found[1]) <= self.n_released else found[0]

    def _shard(self, found: re.Match[str]) -> str:
        return "#" if int(found[1]) <= int(found[2]) < self.n_released else found[0]


def _other_number(found: re.Match[str]) -> str:
    """Return a mark in the place of a number that names a person, journal or book elsewhere, if its check digit is right."""
    checked = found["checked"]
    if not checked:
        return "#"
    digits = checked.replace("-", "")
    if len(digits) == 8:  # ISSN, weights 8 to 2
        total = sum(int(digit) * weight for digit, weight in zip(digits[:7], range(8, 1, -1), strict=True))
        expected = -total % 11
    else:  # ORCID, ISO 7064 mod 11-2
        total = 0
        for digit in digits[:15]:
            total = (total + int(digit)) * 2
        expected = (12 - total % 11) % 11
    return "#" if digits[-1] == ("x" if expected == 10 else str(expected)) else checked


def _stands(needle: Needle, text: str, start: int, end: int, is_name: bool) -> bool:
    """Return whether an id with digits stands in a text where its longest number stands."""
    if len(needle.parts) > 1:
        return _whole(needle, text, start, end)
    run, digits = text[start:end], needle.digits
    before, after = text[max(0, start - 40) : start], text[end : end + 16]
    prefix = _letters_at_the_end(before)
    if prefix and not _GLUED.fullmatch(prefix):
        return False
    if _POINT_BEFORE.search(before) or _POINT_AFTER.match(after):
        return False
    significant = len(digits.lstrip("0"))
    if re.match(r"[^\W_]", after) and not (significant > LONG_NUMBER and re.match(r"[g-z]", after)):
        return False
    counted = run[0] != "0" and (_COUNTED.search(before) or _UNIT.match(after))
    if significant >= LONG_NUMBER and not digits.endswith("000"):
        return not counted
    quoted = before[-1:] in _QUOTES and after[:1] in _QUOTES
    alone = is_name or quoted or (len(text) < _ALONE and not (text[:start] + text[end:]).strip())
    if run == digits and len(run) >= _SHORTEST and not counted and (alone or (run[0] == "0" and len(run) >= _ZEROED)):
        return len(run) >= _ZEROED or run[0] == "0" or not is_name
    known = prefix in ("sub", "subj", "subject", "participant", "patient") or _NAMED.search(before)
    return bool(known) and (run == digits or (len(digits) > 2 and len(run) < _RELEASED_DIGITS))


def _letters_at_the_end(text: str) -> str:
    """Return the letters and digits that a text ends with."""
    start = len(text)
    while start and text[start - 1].isalnum():
        start -= 1
    return text[start:]


def _whole(needle: Needle, text: str, start: int, end: int) -> bool:
    """Return whether all parts of an id stand around a place of the text, with up to three other characters between them."""
    slack = needle.length + 4 * len(needle.parts) + 8
    near = text[max(0, start - slack) : end + slack]
    return any(found.start() <= min(start, slack) < found.end() for found in _pattern(needle).finditer(near))


@cache
def _pattern(needle: Needle) -> re.Pattern[str]:
    """Return the expression of an id of several parts: separators may differ, and leading zeros of its numbers."""
    spelled = [rf"0{{0,3}}{part.lstrip('0') or '0'}" if part.isdigit() else re.escape(part) for part in needle.parts]
    first, last = needle.parts[0], needle.parts[-1]
    telling = not needle.label and re.search(r"[^\W\da-f_]", "".join(needle.parts))
    left = r"(?<![^\W_])" if first.isdigit() or not telling else r"(?<![^\W\d_])"
    right = r"(?!\d)" if last.isdigit() and telling else r"(?![^\W_])"
    return re.compile(left + _SEPARATOR.join(spelled) + right)
