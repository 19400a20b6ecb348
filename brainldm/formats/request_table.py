"""The user's own rows: a CSV, TSV or Parquet table of requested covariates; every fault in it is found at once."""

from pathlib import Path
from typing import Any

import numpy as np

from brainldm.core.covariates import NAMES, SEX_CODES, covariate_array
from brainldm.core.errors import DataError
from brainldm.formats.manifest import LARGEST_ML, OLDEST_YEARS, listed, number, shown
from brainldm.formats.manifest_draft import sex_code
from brainldm.formats.raw_table import read_texts
from brainldm.formats.tables import read_parquet

LIMITS = {"age_years": (OLDEST_YEARS, "years"), "ventricles_ml": (LARGEST_ML, "mL"), "brain_ml": (LARGEST_ML, "mL")}


def read_wanted(path: Path) -> np.ndarray:
    """Covariates [N, 4] in the order of NAMES; DataError lists every fault by line (Parquet: by row, counted from 0)."""
    parquet = path.suffix == ".parquet"
    table = read_parquet(path, NAMES).reset_index(drop=True) if parquet else read_texts(path, NAMES)
    table = table.assign(sex=[sex_code(value) for value in table["sex"]])
    table["where"] = [f"{'row' if parquet else 'line'} {place}" for place in table.index]
    if faults := [(int(row.Index), fault) for row in table.itertuples() for fault in _faults(row)]:
        raise DataError(f"{path}: {listed(table, faults)}")
    if table.empty:
        raise DataError(f"{path}: expected a row, found none")
    return covariate_array(table, str(path))


def _faults(row: Any) -> list[str]:
    sex = [] if row.sex in SEX_CODES else [f"sex: expected F or M, found {shown(row.sex)}"]
    return sex + [
        f"{name}: expected {unit} above 0, {most:g} at most, found {shown(value)}"
        for name, (most, unit) in LIMITS.items()
        if not 0 < number(value := getattr(row, name)) <= most
    ]
