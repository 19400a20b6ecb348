"""The manifest: a TSV with a raw scan per line; every fault in it is found at once and named by its line."""

import math
import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm.core.covariates import SEX_CODES
from brainldm.core.errors import DataError
from brainldm.formats.tables import read_tsv

COLUMNS = ("participant_id", "t1w", "age_years", "sex", "split")
SPLITS = ("train", "test")
ID_PATTERN = r"sub-[A-Za-z0-9]+"  # BIDS; it becomes part of file names
OLDEST_YEARS = 125.0


class Entry(NamedTuple):
    """A line of the manifest; `t1w` is absolute or relative to the working directory, whatever the manifest's own folder."""

    participant_id: str
    t1w: Path
    age_years: float
    sex: str
    split: str


def read_manifest(path: Path) -> list[Entry]:
    """Read and check a manifest; DataError lists every fault by line. Whether the scans can be used is found out when they are read."""
    table = read_tsv(path, COLUMNS)[list(COLUMNS)]
    lines = list(enumerate(table.itertuples(index=False), start=2))  # line 1 is the header
    faults = [(line, fault) for line, row in lines for fault in _faults(row)]
    for column in ("participant_id", "t1w"):
        faults += _repeated(table[column])
    if table.empty:
        faults.append((2, "expected a scan, found the end of the table"))
    if faults:
        raise DataError(f"{path}: {len(faults)} fault(s)" + "".join(f"\n  line {line}: {fault}" for line, fault in sorted(faults)))
    return [Entry(row.participant_id, path.parent / row.t1w, float(row.age_years), row.sex, row.split) for _, row in lines]


def _faults(row: Any) -> list[str]:
    sound = {
        "participant_id": (re.fullmatch(ID_PATTERN, str(row.participant_id)), "a name such as sub-0001"),
        "t1w": (not pd.isna(row.t1w), "a path"),
        "age_years": (0 < _number(row.age_years) <= OLDEST_YEARS, "a number of years"),
        "sex": (row.sex in SEX_CODES, " or ".join(SEX_CODES)),
        "split": (row.split in SPLITS, " or ".join(SPLITS)),
    }
    return [f"{column}: expected {want}, found {_shown(getattr(row, column))}" for column, (good, want) in sound.items() if not good]


def _repeated(values: pd.Series) -> list[tuple[int, str]]:
    first: dict[Any, int] = {}
    lines = enumerate(values, start=2)
    return [
        (line, f"{values.name}: {value} stands on line {first[value]} already")
        for line, value in lines
        if not pd.isna(value) and first.setdefault(value, line) != line
    ]


def _number(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan


def _shown(value: Any) -> str:
    return "nothing" if pd.isna(value) else repr(str(value))
