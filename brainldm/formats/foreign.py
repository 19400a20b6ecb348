"""Volumes that others made: the images of a folder, and what a table says of each of them, in whatever columns it has."""

import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from brainldm.core.covariates import NAMES, SEX_CODES
from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import entries, open_inside, open_regular
from brainldm.formats.bounded_parquet import read_known
from brainldm.formats.identifiers import alike, difference, skeleton
from brainldm.formats.manifest import LARGEST_ML, OLDEST_YEARS, Fault, check_units, hint, listed, shown
from brainldm.formats.numbers import number
from brainldm.formats.scan import files_of
from brainldm.formats.sidecar import converted, factor_of, sexes_by_levels, sidecar_of
from brainldm.formats.text_table import read_texts

ENDINGS = (".nii.gz", ".nii", ".mgz", ".mgh", ".hdr.gz", ".hdr")
NAMED = 3  # files in a message
NO_IMAGE = re.compile(r"_(dseg|probseg|mask|desc-brain_mask)\.")
LIMITS = {"age_years": OLDEST_YEARS, "ventricles_ml": LARGEST_ML, "brain_ml": LARGEST_ML}
KEYS = ("path", "participant_id")
ALIASES = {"age": "age_years"}  # BIDS


def volumes_of(folder: Path, table: Path | None) -> pd.DataFrame:
    """A row for every volume: `name`, `file` relative to the folder, `path`, and the covariates that the table has, in physical units.

    The table (CSV, TSV, Parquet) has the column `path`, relative to the folder, or `participant_id`, which the name of one file of the
    folder, or of a folder in it, begins with. Without a table all images are taken. DataError lists all faults by line.
    """
    names = [name for name, _, _ in entries(folder) if name.endswith(ENDINGS) and not NO_IMAGE.search(name.rpartition("/")[2])]
    found = sorted(folder / name for name in names)
    if not found:
        raise DataError(f"{printable(folder)}: expected volumes ({', '.join(ENDINGS)}), found none")
    for path in found:
        for file in files_of(path):
            open_inside(folder, str(file.relative_to(folder)), "volume").close()
    if table is None:
        return _named(folder, pd.DataFrame({"path": _each_once(found)}))
    given, broken, kind, header = _given(table)
    key = next((column for column in KEYS if column in given.columns), None)
    if key is None or given.empty:
        raise DataError(f"{table}: expected rows with a column path or participant_id, found {', '.join(header)}")
    rows = given[[key, *(name for name in NAMES if name in given.columns)]].assign(where=[f"{kind} {line}" for line in given.index])
    if "sex" in rows:
        rows["sex"], unclear = sexes_by_levels(sidecar_of(table), "sex", rows["sex"])
        broken = {**unclear, **broken}
    files = _by_path(folder, found) if key == "path" else _by_name(folder, found)
    places = [files.get(str(value), []) for value in rows[key]]
    faults = [*broken.items(), *_twice(rows, places, broken)]
    like = alike(files)
    for row, one in zip(rows.itertuples(), places, strict=True):
        if row.Index not in broken:
            faults += [(int(row.Index), fault) for fault in _faults(row, key, one, like)]
    if faults:
        raise DataError(f"{table}: {listed(rows, faults)}")
    unnamed = sorted(set(found) - {one[0] for one in places})
    if unnamed:
        logging.warning("%s has no row for %d of the volumes, which are not scored: %s ...", table, len(unnamed), unnamed[0])
    numbers = {name: [number(value) for value in rows[name]] for name in LIMITS if name in rows}
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


def _identity(path: Path) -> object:
    """What two names of one file share."""
    try:
        status = path.stat()
    except OSError:
        return path
    return status.st_dev, status.st_ino


def _given(table: Path) -> tuple[pd.DataFrame, dict[int, str], str, list[str]]:
    """Return the rows of a table, its broken lines, what its index counts (lines, or rows of a Parquet table), names of columns."""
    if table.suffix == ".parquet":
        with open_regular(table, "table") as handle:
            known = read_known(handle, printable(table), (*KEYS, *NAMES, *ALIASES))
        rows = known.to_pandas(ignore_metadata=True, use_threads=False)
        header = [str(name) for name in rows.columns]
        broken: dict[int, str] = {}
        kind = "row"
    else:
        check_units(table)
        rows, broken, header = read_texts(table, (), (*KEYS, *NAMES, *ALIASES))
        kind = "line"
        if "age" in rows:
            factor = factor_of(sidecar_of(table), "age", "years")
            rows["age"] = [converted(text, factor.by) for text in rows["age"]]
    return rows.rename(columns={old: new for old, new in ALIASES.items() if new not in rows.columns}), broken, kind, header


def _twice(rows: pd.DataFrame, places: list[list[Path]], broken: dict[int, str]) -> Iterator[Fault]:
    """Yield the rows whose volume stands on another row already: it would count twice."""
    seen: dict[object, str] = {}
    for row, files in zip(rows.itertuples(), places, strict=True):
        if len(files) == 1 and row.Index not in broken:
            first = seen.setdefault(_identity(files[0]), row.where)
            if first != row.where:
                yield int(row.Index), f"{files[0].name} stands on {first} already: it would count twice. Keep one of the two rows."


def _faults(row: Any, key: str, files: list[Path], like: dict[str, list[str]]) -> list[str]:
    name = getattr(row, key)
    faults = [] if len(files) == 1 else [f"{key}: expected one volume for {shown(name).strip(chr(39))}, found {len(files)}"]
    if faults and not pd.isna(name) and (near := like.get(skeleton(str(name)), [])) and not files:
        faults[0] += f"; there is {near[0]}: they differ in {difference(str(name), near[0])}. Write it as the file does."
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
