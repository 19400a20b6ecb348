"""Volumes that others made: the images of a folder, and what a table says of each of them, in whatever columns it has."""

import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from brainldm.core.covariates import NAMES, SEX_CODES
from brainldm.core.errors import DataError
from brainldm.formats.manifest import LARGEST_ML, OLDEST_YEARS, hint, listed, number, shown
from brainldm.formats.manifest_draft import sex_code
from brainldm.formats.raw_table import read_texts
from brainldm.formats.scan import files_of
from brainldm.formats.tables import read_parquet

ENDINGS = (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr.gz", ".hdr")
NAMED = 3  # files in a message
NO_IMAGE = re.compile(r"_(dseg|probseg|mask|desc-brain_mask)\.")
LIMITS = {"age_years": OLDEST_YEARS, "ventricles_ml": LARGEST_ML, "brain_ml": LARGEST_ML}
ALIASES = {"age": "age_years"}  # BIDS


def volumes_of(folder: Path, table: Path | None) -> pd.DataFrame:
    """A row for every volume: `name`, `file` relative to the folder, `path`, and the covariates that the table has, in physical units.

    The table (CSV, TSV, Parquet) has the column `path`, relative to the folder, or `participant_id`, which the name of one file of the
    folder, or of a folder in it, begins with. Without a table all images are taken. DataError lists all faults by line.
    """
    images = (path for path in folder.rglob("*") if path.name.endswith(ENDINGS) and not NO_IMAGE.search(path.name))
    found = sorted(path for path in images if not path.is_dir())
    if not found:
        raise DataError(f"{folder}: expected volumes ({', '.join(ENDINGS)}), found none")
    if table is None:
        return _named(folder, pd.DataFrame({"path": _each_once(found)}))
    given = read_parquet(table).reset_index(drop=True) if table.suffix == ".parquet" else read_texts(table)
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
    faults += _twice(folder, rows, places)
    if faults:
        raise DataError(f"{table}: {listed(rows, faults)}")
    numbers = {name: rows[name].astype(float) for name in LIMITS if name in rows}
    return _named(folder, rows.assign(path=[one[0] for one in places], **numbers).reset_index(drop=True))


def _named(folder: Path, rows: pd.DataFrame) -> pd.DataFrame:
    """The rows with the name of each file, and the file relative to the folder."""
    return rows.assign(name=[_stem(path) for path in rows["path"]], file=[str(path.relative_to(folder)) for path in rows["path"]])


def _each_once(found: list[Path]) -> list[Path]:
    """The files without those that are links to another; DataError where two of one folder have one name."""
    first: dict[object, Path] = {}
    for path in found:
        first.setdefault(_identity(path), path)
    if left := sorted(set(found) - set(first.values())):
        logging.warning("%d files are links to others and count once: %s", len(left), ", ".join(map(str, left[:NAMED])))
    names: dict[Path, Path] = {}
    for path in first.values():
        other = names.setdefault(path.with_name(_stem(path)), path)
        if other != path:
            raise DataError(f"{path}: {other.name} beside it has the same name. Remove one of the two, or name the volumes in a --table.")
    return list(first.values())


def _twice(folder: Path, rows: pd.DataFrame, places: list[list[Path]]) -> list[tuple[int, str]]:
    """A fault for each row whose file stands on a row before."""
    seen: dict[object, int] = {}
    faults = []
    for line, files in zip(rows.index, places, strict=True):
        if len(files) != 1:
            continue
        other = seen.setdefault(_identity(files[0]), line)
        if other != line:
            faults.append((int(line), f"{files[0].relative_to(folder)} stands on {rows['where'][other]} already: it would count twice"))
    return faults


def _identity(path: Path) -> object:
    """What two names of one file share."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _faults(row: Any, key: str, files: list[Path]) -> list[str]:
    faults = [] if len(files) == 1 else [f"{key}: expected one volume for {getattr(row, key)}, found {len(files)}"]
    if hasattr(row, "sex") and row.sex not in SEX_CODES:
        faults.append(f"sex: expected F or M, found {shown(row.sex)}")
    wrong = {name: value for name, most in LIMITS.items() if not 0 < number(value := getattr(row, name, most)) <= most}
    return faults + [
        f"{name}: expected a number up to {LIMITS[name]:g}, found {shown(value)}{hint(name, value)}" for name, value in wrong.items()
    ]


def _by_path(folder: Path, found: Iterable[Path]) -> dict[str, list[Path]]:
    """Under the path of each file; both files of a pair .hdr and .img lead to its header."""
    return {str(file.relative_to(folder)): [path] for path in found for file in files_of(path)}


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
