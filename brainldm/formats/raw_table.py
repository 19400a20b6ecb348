"""Scans listed in anybody's table: a CSV or TSV, and a mapping (YAML) that says which column holds what."""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from brainldm.core.errors import ConfigError, DataError
from brainldm.core.printable import printable
from brainldm.core.yaml_file import read_yaml
from brainldm.formats.identifiers import label, label_fault, near_misses, whole
from brainldm.formats.manifest import UNITS
from brainldm.formats.manifest_draft import Draft
from brainldm.formats.oddities import NOTE, Oddity
from brainldm.formats.sidecar import OTHER_UNITS, SAME, Factor, Sidecar, converted, factor_of, sex_by_levels, sex_of, sidecar_of
from brainldm.formats.text_table import read_texts

MOST_FAULTS = 30  # in one message
NUMBERS = ("age_years", "ventricles_ml", "brain_ml")
FIELD = re.compile(r"\{([^{}]+)\}")


class Cell(BaseModel):
    """Where a value comes from: a column (for t1w also a path with {column} in it), other spellings of its values, a factor."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    column: str
    values: dict[str, str] = {}
    scale: float | None = Field(None, gt=0)

    @model_validator(mode="before")
    @classmethod
    def _bare_name(cls, given: Any) -> Any:
        return given if isinstance(given, dict) else {"column": given}

    @model_validator(mode="after")
    def _one_meaning(self) -> "Cell":
        if len(self.spellings) < len({(whole(value), meant) for value, meant in self.values.items()}):
            raise ValueError(f"two values are one number and mean two things, in {self.values}")
        return self

    @property
    def spellings(self) -> dict[str, str]:
        """What values mean, 1.0 as 1."""
        return {whole(value): meant for value, meant in self.values.items()}


class Mapping(BaseModel):
    """The columns of a table, under the manifest's names."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    participant_id: Cell
    t1w: Cell
    age_years: Cell
    sex: Cell
    session: Cell | None = None
    ventricles_ml: Cell | None = None
    brain_ml: Cell | None = None

    @model_validator(mode="after")
    def _only_numbers_scale(self) -> "Mapping":
        scaled = [name for name, cell in self if cell and cell.scale and name not in NUMBERS]
        if scaled:
            raise ValueError(f"a scale is for {', '.join(NUMBERS)}, not for {', '.join(scaled)}")
        return self


def read_mapping(path: Path) -> Mapping:
    """Read a mapping; ConfigError lists every fault."""
    try:
        return Mapping.model_validate(read_yaml(path))
    except ValidationError as error:
        told = (f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}, found {fault['input']!r}" for fault in error.errors()[:MOST_FAULTS])
        faults = "".join(f"\n  {printable(text)}" for text in told)
        raise ConfigError(f"{path}: {error.error_count()} fault(s){faults}") from None


def draft_of_table(path: Path, mapping: Mapping, scans: Path) -> Draft:
    """Return a row per line of the table; paths that are not absolute start from the folder `scans`.

    Units and Levels in the JSON beside the table hold where the mapping says nothing else; DataError where the two disagree.
    """
    given = {name: cell for name, cell in mapping if cell}
    texts = read_texts(path, [column for cell in given.values() for column in FIELD.findall(cell.column) or [cell.column]])
    raw, faults = texts.table, dict(texts.broken)
    sidecar = sidecar_of(path)
    notes: list[Oddity] = []
    table = pd.DataFrame({name: _values(raw, cell) for name, cell in given.items()}, index=raw.index, dtype=object)
    for name in [name for name in NUMBERS if name in given]:
        factor, note = _factor(sidecar, name, given[name])
        table[name] = [converted(text, factor) for text in table[name]]
        notes += note
    for line, text in table["sex"].items():
        try:
            table.loc[line, "sex"] = None if text is None else _sex(sidecar, mapping.sex, raw, line, text)
        except DataError as error:
            faults.setdefault(line, f"sex: {error}")
    for name, prefix in [("participant_id", "sub"), ("session", "ses")][: 2 if mapping.session else 1]:
        for line, text in table[name].items():
            if fault := label_fault(prefix, text):
                faults.setdefault(line, f"{name}: {fault}")
    for line, fault in _two_spellings(table["participant_id"].drop(index=list(faults))):
        faults.setdefault(line, fault)
    table["participant_id"] = [label("sub", text) for text in table["participant_id"]]
    table["t1w"] = [None if text is None else os.path.abspath(scans / text) for text in table["t1w"]]
    if mapping.session:
        table["session"] = [label("ses", text) for text in table["session"]]
    return Draft(table.assign(where=[f"line {line}" for line in table.index]), faults, {}, [*notes, *near_misses(table["participant_id"])])


def _two_spellings(cells: pd.Series) -> Iterator[tuple[int, str]]:
    """Lines whose name of a participant becomes that of another line, which spells it in another way."""
    seen: dict[str, tuple[int, str]] = {}
    for line, text in cells.dropna().items():
        name = str(label("sub", text))
        first, spelling = seen.setdefault(name, (line, text))
        if spelling != text:
            told = f"{text!r} becomes {name}, as {spelling!r} on line {first} does. Spell one person in one way, and two in two."
            yield line, f"participant_id: {told}"


def _factor(sidecar: Sidecar, name: str, cell: Cell) -> tuple[float, list[Oddity]]:
    """Return what the numbers of a column are multiplied by: the mapping's scale, else that of the sidecar's unit."""
    unit = UNITS[name]
    factor = Factor(1.0, None) if FIELD.search(cell.column) else factor_of(sidecar, cell.column, unit)
    if cell.scale is not None:
        if factor.unit is not None and abs(cell.scale / factor.by - 1) > SAME:
            raise DataError(
                f"{sidecar.path}: the unit of {cell.column} is {factor.unit}, which makes a scale of {factor.by:.6g}; "
                f"the mapping's scale of {name} is {cell.scale:g}. Correct one of the two."
            )
        return cell.scale, []
    if factor.unit is None and name == "age_years" and OTHER_UNITS.search(cell.column):
        raise DataError(
            f"The mapping takes {cell.column} for years, and its name speaks of another unit. Give a scale (1 for years), "
            f'or {{"{cell.column}": {{"Units": ...}}}} in {sidecar.path}.'
        )
    if factor.by == 1.0:
        return 1.0, []
    return factor.by, [Oddity(NOTE, sidecar.path.name, f"{cell.column} is in {factor.unit}: converted to {unit}")]


def _sex(sidecar: Sidecar, cell: Cell, raw: pd.DataFrame, line: int, text: str) -> str:
    """Return F or M by the mapping's values, else by the sidecar's Levels, else by the spelling."""
    if FIELD.search(cell.column) or whole(raw[cell.column][line]) in cell.spellings:
        return sex_of(text)
    return sex_by_levels(sidecar, cell.column, text)


def _values(raw: pd.DataFrame, cell: Cell) -> list[str | None]:
    texts = _filled(raw, cell.column) if FIELD.search(cell.column) else list(raw[cell.column])
    return [None if text is None else cell.spellings.get(whole(text), text) for text in texts]


def _filled(raw: pd.DataFrame, template: str) -> list[str | None]:
    """Return the template with the values of every row in it; None where one of them is missing."""
    names = FIELD.findall(template)
    rows = (dict(zip(names, cells, strict=True)) for cells in zip(*(raw[name] for name in names), strict=True))
    return [None if None in row.values() else _fill(template, row) for row in rows]


def _fill(template: str, values: dict[str, str]) -> str:
    return FIELD.sub(lambda match: whole(values[match[1]]), template)
