"""What the readers of files hand to the searches: a file in pieces, each with its place, and nothing left over."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Text(NamedTuple):
    """Characters that people or programs read as text."""

    place: str
    content: str


class Field(NamedTuple):
    """Bytes that hold text or metadata: a header, a comment, a value of unknown encoding."""

    place: str
    content: bytes


class Array(NamedTuple):
    """Bytes that are numbers or compressed by nature: `shortest` is the length of the shortest text that is no coincidence there."""

    place: str
    content: bytes
    shortest: int = 7


class Records(NamedTuple):
    """Numbers that stand together: one record a row [R, C]; `units` [R, C] are of the last digit that each is written with."""

    place: str
    values: np.ndarray
    units: np.ndarray
    scaled: bool = True  # whether other units (mm3, months) are tried


class Fault(NamedTuple):
    """A place that cannot be read, or bytes that no reader of the format would show."""

    place: str
    found: str


Piece = Text | Field | Array | Records | Fault
Pieces = Iterator[Piece]


class Unreadable(Exception):
    """The file, or the rest of it, is not what its name promises; the message says why."""


def rest(place: str, content: bytes, what: str) -> Pieces:
    """Yield `content`, which stands where a file of its kind has ended, as a fault and as a piece to be searched; zeros alone pass."""
    if content.strip(b"\0"):
        yield Fault(place, f"{len(content)} bytes {what}")
        yield Field(place, content)


def windows(place: str, values: np.ndarray, units: np.ndarray, scaled: bool = True, length: int = 24) -> Iterator[Records]:
    """Yield numbers in a sequence [N] as records of `length` neighbours, each of which overlaps half of the one before."""
    if len(values) < 2:
        return
    if len(values) <= length:
        yield Records(place, values[None], units[None], scaled)
        return
    half = length // 2
    padded = -len(values) % half
    filled = np.concatenate([values, np.full(padded, np.nan)])
    unit = np.concatenate([units, np.ones(padded)])
    starts = np.arange(0, len(filled) - half, half)[:, None] + np.arange(length)
    starts = np.minimum(starts, len(filled) - 1)
    yield Records(place, filled[starts], unit[starts], scaled)
