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
OPTIONAL = ("session", "ventricles_ml", "brain_ml")
SPLITS = ("train", "test")
MOST_LISTED = 100  # faults; a table whose column is wrong has one in every line
ID_PATTERN = r"sub-[A-Za-z0-9]+"  # BIDS; it becomes part of file names
SESSION_PATTERN = r"ses-[A-Za-z0-9]+"
OLDEST_YEARS = 125.0
LARGEST_ML = 5000.0  # no head holds more; volumes left in mm3 are above it

Fault = tuple[int, str]  # the index of the row, what is wrong with it


class Entry(NamedTuple):
    """A line of the manifest; `t1w` is absolute or relative to the working directory, whatever the manifest's own folder."""

    participant_id: str
    t1w: Path
    age_years: float
    sex: str
    split: str
    session: str = ""  # as in "ses-2", or nothing
    ventricles_ml: float | None = None
    brain_ml: float | None = None

    @property
    def name(self) -> str:
        """What the scan's files begin with, as in BIDS: sub-01 or sub-01_ses-2; no two scans share one."""
        return f"{self.participant_id}_{self.session}" if self.session else self.participant_id


def read_manifest(path: Path) -> list[Entry]:
    """Read and check a manifest; DataError lists every fault by line. Whether the scans can be used is found out when they are read."""
    table = read_tsv(path, COLUMNS).reindex(columns=[*COLUMNS, *OPTIONAL])
    if table.empty:
        raise DataError(f"{path}: expected a scan on line 2, found the end of the table")
    lines = [number for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1) if line.strip()]
    if len(lines) - 1 != len(table):
        raise DataError(
            f"{path}: expected a line for each scan, found {len(lines) - 1} lines and {len(table)} scans; is a quotation mark left open?"
        )
    table["where"] = [f"line {line}" for line in lines[1:]]  # the first is the header
    if faults := [*row_faults(table), *clashes(table)]:
        raise DataError(f"{path}: {listed(table, faults)}")
    return [_entry(path.parent, row) for row in table.itertuples()]


def row_faults(table: pd.DataFrame) -> list[Fault]:
    """What is wrong with single rows of a table with the columns COLUMNS and OPTIONAL."""
    return [(row.Index, fault) for row in table.itertuples() for fault in _faults(row)]


def clashes(table: pd.DataFrame) -> list[Fault]:
    """Rows that take another's name or scan, or put a participant into a second split; the column `where` says where a row stands."""
    found: list[Fault] = []
    names: dict[str, Any] = {}
    scans: dict[str, Any] = {}
    splits: dict[str, Any] = {}
    for row in table.itertuples():
        name = row.participant_id if pd.isna(row.session) or pd.isna(row.participant_id) else f"{row.participant_id} {row.session}"
        for column, value, seen in (("participant_id", name, names), ("t1w", row.t1w, scans)):
            other = row if pd.isna(value) else seen.setdefault(value, row)
            if other is not row:
                found.append((row.Index, f"{column}: {value} stands on {other.where} already"))
        other = splits.setdefault(row.participant_id, row)
        if other.split != row.split and {other.split, row.split} <= set(SPLITS):
            found.append((row.Index, f"split: expected {other.split}, that of the participant on {other.where}, found {row.split}"))
    return found


def listed(table: pd.DataFrame, faults: list[Fault]) -> str:
    """The number of faults, and a line for each of the first MOST_LISTED, in the order of the rows."""
    lines = [f"\n  {table['where'][index]}: {fault}" for index, fault in sorted(faults)[:MOST_LISTED]]
    more = f"\n  ... and {len(faults) - MOST_LISTED} more" if len(faults) > MOST_LISTED else ""
    return f"{len(faults)} fault(s)" + "".join(lines) + more


def _faults(row: Any) -> list[str]:
    sound = {
        "participant_id": (re.fullmatch(ID_PATTERN, str(row.participant_id)), "a name such as sub-0001"),
        "t1w": (not pd.isna(row.t1w), "a path"),
        "age_years": (0 < number(row.age_years) <= OLDEST_YEARS, "a number of years"),
        "sex": (row.sex in SEX_CODES, " or ".join(SEX_CODES)),
        "split": (row.split in SPLITS, " or ".join(SPLITS)),
        "session": (pd.isna(row.session) or re.fullmatch(SESSION_PATTERN, str(row.session)), "a name such as ses-2, or nothing"),
        "ventricles_ml": (_is_volume(row.ventricles_ml), f"mL between 0 and {LARGEST_ML:g}, or nothing"),
        "brain_ml": (_is_volume(row.brain_ml), f"mL between 0 and {LARGEST_ML:g}, or nothing"),
    }
    return [
        f"{column}: expected {want}, found {shown(getattr(row, column))}{hint(column, getattr(row, column))}"
        for column, (good, want) in sound.items()
        if not good
    ]


def hint(column: str, value: Any) -> str:
    """What a number beyond the limit is most often."""
    if column == "age_years" and number(value) > OLDEST_YEARS:
        return "; if these are days, divide by 365.25; if months, by 12"
    return "; if these are mm3, divide by 1000" if column in OPTIONAL and number(value) > LARGEST_ML else ""


def _is_volume(value: Any) -> bool:
    return bool(pd.isna(value)) or 0 < number(value) <= LARGEST_ML


def number(value: Any) -> float:
    """As a float; nan for what is none."""
    try:
        return float(value)
    except (ValueError, TypeError):
        return math.nan


def shown(value: Any) -> str:
    """For an error message."""
    return "nothing" if pd.isna(value) else repr(str(value))


def _entry(folder: Path, row: Any) -> Entry:
    session = "" if pd.isna(row.session) else row.session
    volumes = [None if pd.isna(value) else float(value) for value in (row.ventricles_ml, row.brain_ml)]
    return Entry(row.participant_id, folder / row.t1w, float(row.age_years), row.sex, row.split, session, *volumes)
