"""The user's own rows: a CSV, TSV or Parquet table of requested covariates; every fault in it is found at once."""

from pathlib import Path
from typing import Any

import numpy as np

from brainldm.core.covariates import NAMES, SEX_CODES, covariate_array
from brainldm.core.errors import DataError
from brainldm.formats.manifest import LARGEST_ML, OLDEST_YEARS, check_units, listed, shown
from brainldm.formats.numbers import number, remedy
from brainldm.formats.sidecar import sexes_by_levels, sidecar_of
from brainldm.formats.tables import read_parquet
from brainldm.formats.text_table import read_texts

LIMITS = {"age_years": (OLDEST_YEARS, "years"), "ventricles_ml": (LARGEST_ML, "mL"), "brain_ml": (LARGEST_ML, "mL")}


def read_wanted(path: Path) -> np.ndarray:
    """Covariates [N, 4] in the order of NAMES; DataError lists every fault by line (Parquet: by row, counted from 0)."""
    if path.suffix == ".parquet":
        table = read_parquet(path, NAMES).reset_index(drop=True)
        broken: dict[int, str] = {}
        kind = "row"
    else:
        check_units(path)
        table, broken, _ = read_texts(path, NAMES)
        kind = "line"
    sexes, unclear = sexes_by_levels(sidecar_of(path), "sex", table["sex"])
    broken = {**unclear, **broken}
    table = table.assign(sex=sexes)
    table["where"] = [f"{kind} {place}" for place in table.index]
    own = [(int(row.Index), fault) for row in table.itertuples() if row.Index not in broken for fault in _faults(row)]
    if faults := [*broken.items(), *own]:
        raise DataError(f"{path}: {listed(table, faults)}")
    if table.empty:
        raise DataError(f"{path}: expected a row, found none")
    return covariate_array(table, str(path))


def _faults(row: Any) -> list[str]:
    sex = [] if row.sex in SEX_CODES else [f"sex: expected F or M, found {shown(row.sex)}"]
    return sex + [
        f"{name}: expected {unit} above 0, {most:g} at most, found {shown(value)}{remedy(value)}"
        for name, (most, unit) in LIMITS.items()
        if not 0 < number(value := getattr(row, name)) <= most
    ]
