"""Does the generator obey? Requested against measured covariates, as a whole, by decile, inside and outside the training range."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from brainldm.core.covariates import NAMES, SEX_CODES
from brainldm.metrics import strata
from brainldm.metrics.agreement import agreement
from brainldm.metrics.summary import Entries, entry, obedience

FEWEST = 30  # rows: the other covariates are fitted once, not in every resample
LEAST = 0.05  # of a covariate's spread that the others leave
# name, unit, requested column, measured column
COVARIATES = (
    ("ventricles", "ml", "ventricles_ml", "measured_ventricles_ml"),
    ("brain", "ml", "brain_ml", "measured_brain_ml"),
    ("age", "years", "age_years", "age_predicted_years"),
)


def conditioning(table: pd.DataFrame, held_out: pd.DataFrame, bootstrap: int, seed: int) -> Entries:
    """Figures of the synthetic rows, beside those of the age model on held-out scans: covariates and `age_predicted_years`."""
    obey = partial(obedience, bootstrap=bootstrap, seed=seed)
    alone = partial(other_things_equal, bootstrap=bootstrap, seed=seed)
    entries: Entries = {}
    for name, unit, requested, measured in COVARIATES:
        entries |= {**obey(name, unit, table[requested], table[measured]), **alone(name, table, requested, measured)}
    return {
        **entries,
        **obey("age", "years", held_out["age_years"], held_out["age_predicted_years"], kind="real"),
        **alone("age", held_out, "age_years", "age_predicted_years", kind="real"),
        **entry("qc_pass_fraction", table["qc_pass"].mean(), len(table)),
        **strata.rejections(table),
    }


def other_things_equal(name: str, table: pd.DataFrame, requested: str, measured: str, bootstrap: int, seed: int, kind: str = "") -> Entries:
    """Partial r and slope: of what is left of both columns after linear regression on the other requested covariates.

    In people ventricles, brain and age go together: who obeys two of them seems to obey the third. Nothing of fewer than FEWEST rows,
    without all covariates, or where the others, or the design, all but determine what is requested.
    """
    if len(table) < FEWEST or not set(NAMES) <= set(table):
        return {}
    known = table.assign(sex=table["sex"].map(SEX_CODES))
    design = np.column_stack([np.ones(len(table)), known[[column for column in NAMES if column != requested]].to_numpy(float)])
    x, y = table[requested].to_numpy(float), table[measured].to_numpy(float)
    left_x, left_y = (values - design @ np.linalg.lstsq(design, values, rcond=None)[0] for values in (x, y))
    if left_x.std() <= LEAST * x.std():
        return {}
    left_y[:] = 0 if np.ptp(y) == 0 else left_y  # not round-off
    found, end = agreement(left_x, left_y, bootstrap, [seed, 47]), f"_{kind}" if kind else ""
    parts = [entry(f"{name}_partial_{key}{end}", getattr(found, key), found.n, found.ci[key]) for key in ("r", "slope")]
    return {key: value for part in parts for key, value in part.items()}


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
