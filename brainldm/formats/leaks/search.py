"""The searches of the pieces of a file: ids, keys, this machine's names, and rows of covariates."""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from brainldm.formats.leaks.ids import IdSearch
from brainldm.formats.leaks.numbers import numbers_of, readings
from brainldm.formats.leaks.people import PeopleSearch
from brainldm.formats.leaks.pieces import Array, Fault, Field, Piece, Records, Text, windows
from brainldm.formats.leaks.secrets import SHORTEST_KEY, Secrets
from brainldm.formats.leaks.spellings import as_text, runs, spellings

_SHORTEST_RUN = 2  # characters in metadata
_SHORTEST_BLOB = 7  # characters in what is decoded from base64 or hexadecimal and is no text


class Finding(NamedTuple):
    """What must not be published, or cannot be read, and where."""

    file: str
    place: str
    found: str

    def __str__(self) -> str:
        """Return the finding as one line without control characters."""
        line = f"{self.file}: {self.place}: {self.found}" if self.place else f"{self.file}: {self.found}"
        return "".join(character if character.isprintable() else "?" for character in line)


class Search:
    """All searches of one folder."""

    def __init__(self, secrets: Secrets, n_released: int) -> None:
        self.ids = IdSearch(secrets.ids, n_released)
        self.people = PeopleSearch(secrets.people, secrets.covariates)
        self.keys = [(name, part, form) for name, form in secrets.keys for part in _parts(form)]
        self.numbers = {number for _, form in secrets.keys for number in _as_numbers(form)}
        self.places = [(place, _boundary(place, flags=0)) for place in secrets.places]
        self.places += [(host, _boundary(host, re.IGNORECASE)) for host in secrets.hosts]
        self._rows: dict[str, list[str]] = {}

    def look(self, file: str, piece: Piece) -> Iterator[Finding]:
        """Yield what is found in a piece; rows of covariates are told at the end, by `rows`."""
        if isinstance(piece, Fault):
            yield Finding(file, piece.place, piece.found)
        elif isinstance(piece, Records):
            self._compare(file, piece)
        elif isinstance(piece, Text):
            yield from self._text(file, piece.place, piece.content)
        elif piece.content.strip(b"\0"):
            yield from self._bytes(file, piece)

    def rows(self) -> Iterator[Finding]:
        """Yield the rows of covariates that chance does not explain."""
        for _, match in self.people.found():
            file, _, place = match.place.partition("\0")
            columns = ", ".join(match.columns)
            yield Finding(file, place, f"{columns} of a training participant, {match.participant!r}")

    def _bytes(self, file: str, piece: Field | Array) -> Iterator[Finding]:
        yield from self._keys(file, piece.place, piece.content)
        if isinstance(piece, Array):
            if text := runs(piece.content, piece.shortest, (2,), ascii_only=True):
                yield from self._ids(file, piece.place, text, piece.shortest)
                yield from self._machine(file, piece.place, text)
            return
        whole = as_text(piece.content.strip(b"\0"))
        if text := whole or runs(piece.content, _SHORTEST_RUN):
            yield from self._text(file, piece.place, text)

    def _text(self, file: str, place: str, text: str) -> Iterator[Finding]:
        seen: set[bytes] = set()
        for spelled in spellings(text):
            if isinstance(spelled, bytes):
                yield from self._keys(file, place, spelled)
                if found := runs(spelled, _SHORTEST_BLOB, (2,), ascii_only=True):
                    yield from self._ids(file, place, found, _SHORTEST_BLOB)
                continue
            yield from self._ids(file, place, spelled, is_name=place.endswith("name"))
            yield from self._machine(file, place, spelled)
            if self.keys and not spelled.isascii():
                yield from self._keys(file, place, spelled.encode("latin-1", "replace"))
                yield from self._keys(file, place, spelled.encode("utf-8", "replace"))
            elif self.keys:
                yield from self._keys(file, place, spelled.encode("ascii", "replace"))
            for reading in readings(spelled):
                values, units = numbers_of(reading)
                if len(values) > 1 and values.tobytes() not in seen:
                    seen.add(values.tobytes())
                    for records in windows(place, values, units):
                        self._compare(file, records)

    def _ids(self, file: str, place: str, text: str, shortest: int = 0, is_name: bool = False) -> Iterator[Finding]:
        for found in self.ids.find(text, shortest, is_name):
            yield Finding(file, place, f"id of a training participant, {found!r}")

    def _keys(self, file: str, place: str, content: bytes) -> Iterator[Finding]:
        for name, part, _ in self.keys:
            if part in content:
                yield Finding(file, place, f"bytes of the key {name}")
        if self.numbers and (found := self.numbers & set(re.findall(rb"\d{30,}", content))):
            yield Finding(file, place, f"{len(found)} number that is a key")

    def _machine(self, file: str, place: str, text: str) -> Iterator[Finding]:
        straight = text.replace("\\\\", "/").replace("\\", "/")
        for name, pattern in self.places:
            if pattern.search(straight):
                yield Finding(file, place, f"name of a folder, user or host of this machine, {name!r}")

    def _compare(self, file: str, records: Records) -> None:
        family = re.sub(r"\d+", "#", file)
        self.people.add(family, records._replace(place=f"{file}\0{records.place}"))


def _parts(key: bytes) -> list[bytes]:
    """Return parts of a key, one of which stands in every piece of it that is half as long again as SHORTEST_KEY."""
    step = SHORTEST_KEY // 2
    return list(dict.fromkeys(key[start : start + SHORTEST_KEY] for start in range(0, len(key) - SHORTEST_KEY + 1, step)))


def _as_numbers(key: bytes) -> list[bytes]:
    """Return a key as decimal numbers."""
    return [str(int.from_bytes(key, order)).encode() for order in ("big", "little") if len(key) <= 64]


def _boundary(name: str, flags: int) -> re.Pattern[str]:
    """Return the expression of a folder or host that is no part of a longer name."""
    return re.compile(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", flags)


def integers(values: np.ndarray) -> list[int]:
    """Return the whole numbers of an array."""
    return [int(value) for value in values if np.isfinite(value) and value == int(value)]
