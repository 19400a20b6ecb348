"""Is a volume a brain at all? A check of every synthetic volume; limits are ours (config: measure.quality)."""

import numpy as np
import pandas as pd

from brainldm.core.judging import Quality


def quality(images: np.ndarray, measured: pd.DataFrame, rules: Quality) -> pd.DataFrame:
    """qc_pass and qc_reason of images [N,1,I,J,K]: finite, neither empty nor saturated, sharp, a plausible brain inside the skull, an age.

    No rule looks at what was requested: to select by it would flatter the figures of obedience.
    """
    icv_ml = measured["icv_ml"].clip(lower=1)
    checks = {
        "not finite": ~np.isfinite(images).all((1, 2, 3, 4)),
        "empty": images.std((1, 2, 3, 4)) < rules.min_spread,
        "saturated": (images > 1.2).mean((1, 2, 3, 4)) > rules.max_saturated,
        "implausible head": ~measured["icv_ml"].between(*rules.icv_ml).to_numpy(),
        "implausible brain": ~(measured["tissue_ml"] / icv_ml).between(*rules.brain_fraction).to_numpy(),
        "implausible ventricles": ~(measured["ventricles_ml"] / icv_ml).between(*rules.ventricles_fraction).to_numpy(),
        "blurred or noisy": ~measured["sharpness"].between(*(rules.sharpness or (0, np.inf))).to_numpy(),
        "unsure age": (measured["age_spread_years"] > (rules.age_spread_years or np.inf)).to_numpy(),
    }
    reasons = ["; ".join(name for name, failed in checks.items() if failed[row]) for row in range(len(images))]
    return pd.DataFrame({"qc_pass": [not reason for reason in reasons], "qc_reason": reasons})
