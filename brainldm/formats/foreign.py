"""Volumes that others made: the images of a folder, and what a table says of each of them, in whatever columns it has."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from brainldm.core.covariates import NAMES, SEX_CODES
from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import MOST_TEXT, entries, open_inside, open_regular, size_of
from brainldm.formats.bounded_parquet import read_known
from brainldm.formats.manifest import LARGEST_ML, OLDEST_YEARS, hint, listed, number, shown
from brainldm.formats.manifest_draft import sex_code
from brainldm.formats.raw_table import read_texts

ENDINGS = (".nii.gz", ".nii", ".mgz", ".mgh")
NO_IMAGE = re.compile(r"_(dseg|probseg|mask|desc-brain_mask)\.")
LIMITS = {"age_years": OLDEST_YEARS, "ventricles_ml": LARGEST_ML, "brain_ml": LARGEST_ML}
ALIASES = {"age": "age_years"}  # BIDS


def volumes_of(folder: Path, table: Path | None) -> pd.DataFrame:
    """A row for every volume: `name`, `path`, and those of the covariates NAMES that the table has, in physical units.

    The table (CSV, TSV, Parquet) has the column `path`, relative to the folder, or `participant_id`, which the name of one file of the
    folder, or of a folder in it, begins with. Without a table all images are taken. DataError lists all faults by line.
    """
    names = [name for name, _, _ in entries(folder) if name.endswith(ENDINGS) and not NO_IMAGE.search(name.rpartition("/")[2])]
    found = sorted(folder / name for name in names)
    if not found:
        raise DataError(f"{printable(folder)}: expected volumes ({', '.join(ENDINGS)}), found none")
    for path in found:
        open_inside(folder, str(path.relative_to(folder)), "volume").close()
    if table is None:
        return pd.DataFrame({"name": [_stem(path) for path in found], "path": found})
    given = _table(table)
    given = given.rename(columns={old: new for old, new in ALIASES.items() if new not in given.columns})
    key = next((column for column in ("path", "participant_id") if column in given.columns), None)
    if key is None or given.empty:
        raise DataError(f"{table}: expected rows with a column path or participant_id, found {', '.join(map(str, given.columns))}")
    rows = given[[key, *(name for name in NAMES if name in given.columns)]].assign(where=[f"line {line}" for line in given.index])
    if "sex" in rows:
        rows["sex"] = [sex_code(value) for value in rows["sex"]]
    files = _by_path(folder, found) if key == "path" else _by_name(folder, found)
    places = [files.get(str(value), []) for value in rows[key]]
    faults = [(int(row.Index), fault) for row, one in zip(rows.itertuples(), places, strict=True) for fault in _faults(row, key, one)]
    if faults:
        raise DataError(f"{table}: {listed(rows, faults)}")
    numbers = {name: rows[name].astype(float) for name in LIMITS if name in rows}
    return rows.assign(path=[one[0] for one in places], name=[_stem(one[0]) for one in places], **numbers).reset_index(drop=True)


def _table(path: Path) -> pd.DataFrame:
    """Return the columns that are known here; texts, but of a Parquet table values of their types."""
    with open_regular(path, "table") as handle:
        if path.suffix == ".parquet":
            known = read_known(handle, printable(path), ("path", "participant_id", *NAMES, *ALIASES))
            return known.to_pandas(ignore_metadata=True, use_threads=False)
        if size_of(handle) > MOST_TEXT:
            raise DataError(f"Cannot read {printable(path)}: it has {size_of(handle)} bytes, and at most {MOST_TEXT} are read.")
    return read_texts(path)


def _faults(row: Any, key: str, files: list[Path]) -> list[str]:
    faults = [] if len(files) == 1 else [f"{key}: expected one volume for {getattr(row, key)}, found {len(files)}"]
    if hasattr(row, "sex") and row.sex not in SEX_CODES:
        faults.append(f"sex: expected F or M, found {shown(row.sex)}")
    wrong = {name: value for name, most in LIMITS.items() if not 0 < number(value := getattr(row, name, most)) <= most}
    return faults + [
        f"{name}: expected a number up to {LIMITS[name]:g}, found {shown(value)}{hint(name, value)}" for name, value in wrong.items()
    ]


def _by_path(folder: Path, found: Iterable[Path]) -> dict[str, list[Path]]:
    return {str(path.relative_to(folder)): [path] for path in found}


def _by_name(folder: Path, found: Iterable[Path]) -> dict[str, list[Path]]:
    """Under the first entity of every part of a path: sub-01/anat/sub-01_T1w.nii.gz stands under sub-01."""
    files: dict[str, list[Path]] = {}
    for path in found:
        parts = path.relative_to(folder).parts
        for name in {part.partition("_")[0] for part in parts[:-1]} | {path.name.partition("_")[0], _stem(path)}:
            files.setdefault(name, []).append(path)
    return files


def _stem(path: Path) -> str:
    return next(path.name.removesuffix(ending) for ending in ENDINGS if path.name.endswith(ending))
