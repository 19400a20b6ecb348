"""Does the generator obey? Requested against measured covariates, as a whole, by decile, inside and outside the training range."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from brainldm.metrics import strata
from brainldm.metrics.summary import Entries, entry, obedience

# name, unit, requested column, measured column
COVARIATES = (
    ("ventricles", "ml", "ventricles_ml", "measured_ventricles_ml"),
    ("brain", "ml", "brain_ml", "measured_brain_ml"),
    ("age", "years", "age_years", "age_predicted_years"),
)


def conditioning(table: pd.DataFrame, ages: dict[str, np.ndarray], bootstrap: int, seed: int) -> Entries:
    """Figures of the synthetic rows, beside those of the age model on held-out scans, whose `true` and `predicted` ages are given."""
    obey = partial(obedience, bootstrap=bootstrap, seed=seed)
    entries: Entries = {}
    for name, unit, requested, measured in COVARIATES:
        entries |= obey(name, unit, table[requested], table[measured])
    return {
        **entries,
        **obey("age", "years", ages["true"], ages["predicted"], kind="real"),
        **entry("qc_pass_fraction", table["qc_pass"].mean(), len(table)),
        **strata.rejections(table),
    }


def ruler(scans: pd.DataFrame, bootstrap: int, seed: int) -> Entries:
    """How right the segmenter is on scans whose true volumes are known."""
    return obedience("segmenter_ventricles", "ml", scans["true_ventricles_ml"], scans["ventricles_ml"], bootstrap, seed)


def tables(table: pd.DataFrame, training: pd.DataFrame) -> dict[str, Any]:
    """`deciles` and `support` of every covariate, `coverage` of the cells of age, sex and ventricles, `rejected` draws by reason."""
    pairs = {name: (table[requested].to_numpy(float), table[measured].to_numpy(float)) for name, _, requested, measured in COVARIATES}
    near = table["in_support"].to_numpy(bool)
    return {
        "deciles": {name: strata.deciles(*pair) for name, pair in pairs.items()},
        "support": {name: strata.inside_and_outside(*pair, near) for name, pair in pairs.items()},
        "coverage": strata.coverage_cells(table, training),
        "rejected": strata.reasons(table),
    }
