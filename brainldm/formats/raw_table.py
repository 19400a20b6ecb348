"""Scans listed in anybody's table: a CSV or TSV, and a mapping (YAML) that says which column holds what."""

import csv
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from brainldm.core.errors import ConfigError, DataError
from brainldm.core.printable import printable
from brainldm.core.yaml_file import read_yaml
from brainldm.formats.manifest_draft import Draft, label, sex_code, whole

MOST_FAULTS = 30  # in one message
SEPARATORS = "\t,;"
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


def read_texts(path: Path, columns: Iterable[str] | None = None) -> pd.DataFrame:
    """Columns (all by default) of a table as texts, whatever its separator; the index counts its lines from 2, blank ones included.

    DataError if there is no table or it lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            first = handle.readline()
        separator = max(SEPARATORS, key=first.count)
        names = next(csv.reader([first], delimiter=separator), [])
        wanted = list(dict.fromkeys(filter(None, names) if columns is None else columns))  # pandas leaves its index without a name
        if missing := [name for name in wanted if name not in names]:
            shown = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
            raise DataError(f"{path}: expected the column(s) {', '.join(missing)}, found {shown or 'nothing'}")
        options: dict[str, Any] = {"sep": separator, "dtype": str, "encoding": "utf-8-sig", "index_col": False, "skip_blank_lines": False}
        table = pd.read_csv(path, usecols=wanted, **options)
    except OSError as error:
        raise DataError(f"{path}: expected a table, found none ({error.strerror})") from None
    except ValueError as error:
        raise DataError(f"{path}: expected a table, found text that does not parse ({error})") from None
    table.index = pd.RangeIndex(2, len(table) + 2)
    stripped = table.apply(lambda column: column.str.strip()).replace("", None)
    return stripped.dropna(how="all")


def draft_of_table(path: Path, mapping: Mapping, scans: Path) -> Draft:
    """A row per line of the table; paths that are not absolute start from the folder `scans`."""
    given = {name: cell for name, cell in mapping if cell}
    raw = read_texts(path, [column for cell in given.values() for column in FIELD.findall(cell.column) or [cell.column]])
    table = pd.DataFrame({name: _values(raw, cell) for name, cell in given.items()}, index=raw.index, dtype=object)
    table["participant_id"] = [label("sub", value) for value in table["participant_id"]]
    table["sex"] = [sex_code(value) for value in table["sex"]]
    table["t1w"] = [None if pd.isna(value) else os.path.abspath(scans / value) for value in table["t1w"]]
    if mapping.session:
        table["session"] = [label("ses", value) for value in table["session"]]
    return Draft(table.assign(where=[f"line {line}" for line in table.index]), [])


def _values(raw: pd.DataFrame, cell: Cell) -> list[Any]:
    texts = _filled(raw, cell.column) if FIELD.search(cell.column) else list(raw[cell.column])
    spellings = [cell.values.get(whole(text), text) for text in texts]
    return spellings if cell.scale is None else [_scaled(text, cell.scale) for text in spellings]


def _filled(raw: pd.DataFrame, template: str) -> list[str | None]:
    """The template with the values of every row in it; nothing where one of them is missing."""
    names = FIELD.findall(template)
    rows = zip(*(raw[name] for name in names), strict=True)
    return [None if any(map(pd.isna, row)) else _fill(template, dict(zip(names, row, strict=True))) for row in rows]


def _fill(template: str, values: dict[str, str]) -> str:
    return FIELD.sub(lambda match: whole(values[match[1]]), template)


def _scaled(text: Any, scale: float) -> Any:
    try:
        return None if pd.isna(text) else f"{float(text) * scale:.10g}"
    except ValueError:
        return text
