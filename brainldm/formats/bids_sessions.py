"""A participant's table of sessions: the age at each session, or why it is not known."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from brainldm.core.errors import DataError
from brainldm.formats.identifiers import SESSION_PATTERN, difference, skeleton
from brainldm.formats.numbers import number, remedy
from brainldm.formats.oddities import NOTE, Oddity
from brainldm.formats.sidecar import converted, factor_of, sidecar_of
from brainldm.formats.text_table import read_texts

NAMES = ("session_id", "session")  # of the column that names sessions; BIDS says the first


class SessionAges(NamedTuple):
    """Ages in years as texts by line and session; `fault` is why nothing of the table can be used."""

    path: Path
    has_ages: bool
    lines: list[tuple[int, str, str | None]]
    broken: dict[int, str]
    fault: str | None
    notes: list[Oddity]

    def at(self, session: str) -> tuple[str | None, str | None]:
        """Return the age at a session, or None and why it is not known."""
        if self.fault is not None:
            return None, f"age_years: {self.fault}"
        mine = [(line, age) for line, name, age in self.lines if name == session]
        broken = [f"line {line}: {self.broken[line]}" for line, _ in mine if line in self.broken]
        if broken:
            return None, f"age_years: {self.path.name} {broken[0]}"
        if len(mine) > 1:
            numbers = " and ".join(str(line) for line, _ in mine)
            return None, f"age_years: {self.path.name} has {session} on lines {numbers}; which is meant cannot be known. Keep one."
        if not mine:
            return None, f"age_years: {self.path.name} has no line for {session}{self._near(session)}. Correct it."
        if mine[0][1] is None:
            return None, f"age_years: {self.path.name} line {mine[0][0]} has no age at {session}. Add it."
        line, age = mine[0]
        if number(age) != number(age):
            return None, f"age_years: {self.path.name} line {line} has {age!r} at {session}{remedy(age)}"
        return age, None

    def unused(self, sessions: set[str]) -> Iterator[Oddity]:
        """Lines of which no session has a scan, nor one of nearly the same name."""
        known = {skeleton(session) for session in sessions}
        for line, name, _ in self.lines:
            if skeleton(name) not in known:
                yield Oddity(NOTE, f"{self.path.name} line {line}", "no T1w image is taken of its session")

    def _near(self, session: str) -> str:
        like = [name for _, name, _ in self.lines if name != session and skeleton(name) == skeleton(session)]
        return f", but {like[0]}: they differ in {difference(session, like[0])}" if like else ""


def read_session_ages(folder: Path, who: str, unit: str | None = None) -> SessionAges | None:
    """Read a participant's table of sessions; None where there is none. What is wrong with it is told by `at`.

    `unit` is that of the ages in participants.tsv: where it is not years, that of the ages at sessions must be given too.
    """
    path = folder / who / f"{who}_sessions.tsv"
    if not who or not os.path.lexists(path):
        return None
    try:
        texts = read_texts(path, (), (*NAMES, "age"))
        sidecar = sidecar_of(path, [folder / "sessions.json"])
        factor = factor_of(sidecar, "age", "years")
    except DataError as error:
        return SessionAges(path, True, [], {}, str(error), [])
    if "age" not in texts.table:
        return SessionAges(path, False, [], {}, None, [])
    column = next((name for name in NAMES if name in texts.table), None)
    if column is None:
        fault = f"{path.name} has no column {NAMES[0]}, so that its ages belong to no session. Add it."
        return SessionAges(path, True, [], {}, fault, [])
    if factor.unit is None and unit not in (None, "years"):
        fault = f"the ages of participants.tsv are in {unit}, those of {path.name} have no Units. Add them in sessions.json."
        return SessionAges(path, True, [], {}, fault, [])
    names = [_session(name) for name in texts.table[column]]
    ages = [converted(age, factor.by) for age in texts.table["age"]]
    notes = []
    if factor.unit not in (None, "years"):
        notes.append(Oddity(NOTE, sidecar.path.name, f"ages are in {factor.unit}: converted to years"))
    if column != NAMES[0]:
        notes.append(Oddity(NOTE, path.name, f"its column {column} is taken for {NAMES[0]}"))
    unnamed = [line for line, name in zip(texts.table.index, names, strict=True) if not name]
    notes += [Oddity(NOTE, f"{path.name} line {line}", "it names no session and is not used") for line in unnamed]
    lines = [(int(line), name, age) for line, name, age in zip(texts.table.index, names, ages, strict=True) if name]
    return SessionAges(path, True, lines, texts.broken, None, notes)


def _session(cell: str | None) -> str:
    """Return the name of a session, with its prefix."""
    if cell is None:
        return ""
    return cell if re.fullmatch(SESSION_PATTERN, cell) else f"ses-{cell.removeprefix('ses-')}"
