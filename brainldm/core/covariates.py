"""The four conditioning covariates, in physical units; scaled once, where they enter the network.

Order and min-max scaling follow the published bundle: sex, age, ventricular volume, brain volume (Pinaya et al. 2022).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from brainldm.core.errors import DataError

NAMES = ("sex", "age_years", "ventricles_ml", "brain_ml")
UNITS = {"sex": "F or M", "age_years": "years", "ventricles_ml": "mL", "brain_ml": "mL, normalised for head size"}
SEX_CODES = {"F": 0.0, "M": 1.0}
TEMPLATE_ICV_ML = 1886.5  # brain mask of the MNI152 template (nilearn's copy, 1 mm); brain volumes are normalised to it


@dataclass(frozen=True)
class Ranges:
    """Minimum and maximum of every covariate in the training table, in the order of NAMES."""

    low: tuple[float, float, float, float]
    high: tuple[float, float, float, float]

    def scale(self, covariates: np.ndarray) -> np.ndarray:
        """[..., 4] physical units -> min-max units; outside the training range lies outside [0, 1], never clamped."""
        low, high = np.array(self.low), np.array(self.high)
        return np.asarray((covariates - low) / (high - low), np.float32)

    def beyond(self, covariates: np.ndarray) -> list[str]:
        """What a person should be told of covariates [4] that lie outside the training ranges: each is an extrapolation."""
        return [
            f"{name} {value:g} lies outside {low:g} to {high:g}, where the model was trained: it extrapolates"
            for name, value, low, high in zip(NAMES, covariates, self.low, self.high, strict=True)
            if not low <= value <= high
        ]


def covariate_array(table: Any, name: str = "covariates") -> np.ndarray:
    """Rows of a table (any mapping of the columns NAMES, sex as F or M) -> [N, 4] float64, in physical units.

    DataError, naming the table, for another sex or a value that is no finite number.
    """
    unknown = sorted(set(map(str, table["sex"])) - set(SEX_CODES))
    if unknown:
        raise DataError(f"{name}: expected sex to be F or M, found {', '.join(unknown)}")
    sex = np.array([SEX_CODES[code] for code in table["sex"]], np.float64)
    array = np.stack([sex, *(np.asarray(table[column], np.float64) for column in NAMES[1:])], axis=1)
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        raise DataError(f"{name}: expected finite numbers, found {array[*bad[0]]} as {NAMES[bad[0][1]]} of row {bad[0][0]}")
    return array


def ranges_of(covariates: np.ndarray, name: str) -> Ranges:
    """Ranges of training covariates [N, 4]; DataError, naming the table, when one of them is constant."""
    low, high = covariates.min(0), covariates.max(0)
    for column, constant in zip(NAMES, low == high, strict=True):
        if constant:
            raise DataError(f"{name}: expected {column} to vary over the training scans, found one value for all; add scans of others")
    return Ranges(tuple(low.tolist()), tuple(high.tolist()))
