"""The manifest: a TSV with a raw scan per line; every fault in it is found at once and named by its line."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from brainldm.core.covariates import SEX_CODES
from brainldm.core.errors import DataError
from brainldm.formats.identifiers import ID_PATTERN, SESSION_PATTERN
from brainldm.formats.numbers import number, remedy
from brainldm.formats.sidecar import factor_of, sidecar_of
from brainldm.formats.text_table import read_texts

COLUMNS = ("participant_id", "t1w", "age_years", "sex", "split")
OPTIONAL = ("session", "ventricles_ml", "brain_ml")
SPLITS = ("train", "test")
UNITS = {"age_years": "years", "ventricles_ml": "mL", "brain_ml": "mL"}
MOST_LISTED = 100  # faults; a table whose column is wrong has one in every line
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
    texts = read_texts(path, COLUMNS, OPTIONAL)
    check_units(path)
    table = texts.table.reindex(columns=[*COLUMNS, *OPTIONAL])
    if table.empty:
        raise DataError(f"{path}: expected a scan on line 2, found the end of the table")
    table["where"] = [f"line {line}" for line in table.index]
    sound = table.drop(index=list(texts.broken))
    if faults := [*texts.broken.items(), *row_faults(sound), *clashes(sound)]:
        raise DataError(f"{path}: {listed(table, faults)}")
    return [_entry(path.parent, row) for row in table.itertuples()]


def age_summary(entries: list[Entry]) -> str:
    """Return the smallest, the median and the largest age, each with its scan, so that a person sees another unit."""
    in_order = sorted(entries, key=lambda entry: entry.age_years)
    chosen = {"smallest": in_order[0], "median": in_order[(len(in_order) - 1) // 2], "largest": in_order[-1]}
    told = [f"{name} {entry.age_years:g} ({_file(entry)})" for name, entry in chosen.items()]
    return f"ages in years: {', '.join(told)}"


def _file(entry: Entry) -> str:
    """Return the name of a scan's file, with the participant where it does not tell it."""
    return entry.t1w.name if entry.participant_id in entry.t1w.name else f"{entry.name}: {entry.t1w.name}"


def check_units(path: Path) -> None:
    """DataError if the JSON beside a table gives one of its columns another unit than the column's name does."""
    sidecar = sidecar_of(path)
    for column, unit in UNITS.items():
        if factor_of(sidecar, column, unit).by != 1.0:
            told = f"the unit of {column} is not {unit}, as the column's name says. Correct one of the two."
            raise DataError(f"{sidecar.path}: {told}")


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
    """Return what to do about a value that is refused: a text that is no number, a number in another unit."""
    if column not in UNITS or pd.isna(value):
        return ""
    if column == "age_years" and number(value) > OLDEST_YEARS:
        return "; if these are days, divide by 365.25; if months, by 12"
    if column in OPTIONAL and number(value) > LARGEST_ML:
        return "; if these are mm3, divide by 1000"
    return remedy(value)


def _is_volume(value: Any) -> bool:
    return bool(pd.isna(value)) or 0 < number(value) <= LARGEST_ML


def shown(value: Any) -> str:
    """For an error message."""
    return "nothing" if pd.isna(value) else repr(str(value))


def _entry(folder: Path, row: Any) -> Entry:
    session = "" if pd.isna(row.session) else row.session
    volumes = [None if pd.isna(value) else float(value) for value in (row.ventricles_ml, row.brain_ml)]
    return Entry(row.participant_id, folder / row.t1w, float(row.age_years), row.sex, row.split, session, *volumes)
