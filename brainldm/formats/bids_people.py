"""The participants of a BIDS dataset: lines of participants.tsv, and folders, each matched to the other by its exact name."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from brainldm.core.errors import DataError
from brainldm.formats.identifiers import ID_PATTERN, alike, difference, near_misses, skeleton
from brainldm.formats.oddities import NOTE, Oddity
from brainldm.formats.sidecar import Sidecar, converted, factor_of, sex_by_levels, sidecar_of
from brainldm.formats.text_table import Texts, read_texts

TABLE = "participants.tsv"
COLUMNS = ("participant_id", "age", "sex")


class Person(NamedTuple):
    """A participant: where it stands, its folder ("" if none can be told), age in years and sex as texts, why it cannot be used."""

    where: str
    folder: str
    age_years: str | None = None
    sex: str | None = None
    fault: str | None = None


class People(NamedTuple):
    """Lines of participants.tsv in their order, then folders that no line names; notes on both; the unit of ages, if it is given."""

    persons: list[Person]
    notes: list[Oddity]
    unit: str | None


class _Line(NamedTuple):
    """A line of participants.tsv, its name completed by the prefix."""

    number: int
    name: str | None
    age: str | None
    sex: str | None
    fault: str | None


class _Names(NamedTuple):
    """Names of folders; those that no line has, and those of lines, by their skeleton."""

    folders: set[str]
    strangers: dict[str, list[str]]
    named: dict[str, list[str]]


def read_people(folder: Path) -> People:
    """Read the participants of a dataset; DataError if participants.tsv or its sidecar cannot be read, or the unit of age is unknown."""
    path = folder / TABLE
    texts = read_texts(path, COLUMNS)
    sidecar = sidecar_of(path)
    factor = factor_of(sidecar, "age", "years")
    folders = sorted(found.name for found in folder.glob("sub-*") if found.is_dir() and re.fullmatch(ID_PATTERN, found.name))
    notes: list[Oddity] = []
    if factor.unit not in (None, "years"):
        notes.append(Oddity(NOTE, sidecar.path.name, f"ages are in {factor.unit}: converted to years"))
    lines = list(_lines(texts, sidecar, factor.by, set(folders)))
    prefixed = [line for line in lines if line.name and not str(texts.table["participant_id"][line.number]).startswith("sub-")]
    if any(line.name in folders for line in prefixed):
        notes.append(Oddity(NOTE, TABLE, "names without the prefix sub- are matched to the folders sub-<name>"))
    named = list(dict.fromkeys(line.name for line in lines if line.name))
    names = _Names(set(folders), alike(set(folders) - set(named)), alike(named))
    persons = [_person(line, names) for line in _once(lines)]
    known = {person.folder for person in persons}
    fault = f"age_years, sex: {TABLE} has no line for it. Add one."
    persons += [Person(f"no line in {TABLE}", name, fault=fault) for name in folders if name not in known]
    return People(persons, [*notes, *near_misses(named)], factor.unit)


def _lines(texts: Texts, sidecar: Sidecar, factor: float, folders: set[str]) -> Iterator[_Line]:
    for row in texts.table.itertuples():
        name = None if row.participant_id is None else str(row.participant_id)
        if name is not None and f"sub-{name}" in folders:
            name = f"sub-{name}"
        fault = texts.broken.get(row.Index)
        sex = row.sex
        if fault is None and name is None:
            fault = "participant_id: there is none. Write sub-<label>."
        try:
            sex = sex if sex is None else sex_by_levels(sidecar, "sex", sex)
        except DataError as error:
            fault = fault or f"sex: {error}"
        yield _Line(row.Index, name, converted(row.age, factor), sex, fault)


def _once(lines: list[_Line]) -> Iterator[_Line | list[_Line]]:
    """Lines in their order, those of one name together at the first of them."""
    by_name: dict[str, list[_Line]] = {}
    for line in lines:
        if line.name:
            by_name.setdefault(line.name, []).append(line)
    for line in lines:
        together = by_name[line.name] if line.name else [line]
        if line is together[0]:
            yield line if len(together) == 1 else together


def _person(line: _Line | list[_Line], names: _Names) -> Person:
    """Return a participant; a line without a folder takes the one folder without a line whose name is nearly the same, with a fault."""
    if isinstance(line, list):
        numbers = " and ".join(str(one.number) for one in line)
        fault = f"participant_id: {line[0].name} stands on lines {numbers}; which is meant cannot be known. Keep one."
        return Person(f"{TABLE} lines {numbers}", str(line[0].name), fault=fault)
    where = f"{TABLE} line {line.number}"
    if line.name is None or line.name in names.folders:
        return Person(where, line.name or "", line.age, line.sex, line.fault)
    if line.fault is not None:
        return Person(where, "", fault=line.fault)
    near = sorted(names.strangers.get(skeleton(line.name), []))
    if len(near) == 1 and len(names.named[skeleton(line.name)]) == 1:
        what = difference(line.name, near[0])
        fault = f"participant_id: {line.name!r} here, the folder is {near[0]}: they differ in {what}. Write the folder's name in {TABLE}."
        return Person(where, near[0], fault=fault)
    more = f"; like it are {', '.join(near)}" if near else ""
    return Person(f"{where} ({line.name})", "", fault=f"t1w: there is no folder {_as_folder(line.name)}{more}")


def _as_folder(name: str) -> str:
    return name if name.startswith("sub-") else f"sub-{name}"
