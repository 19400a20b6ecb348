import numpy as np
import pandas as pd

from brainldm.core.judging import Quality
from brainldm.metrics.quality import quality


def test_each_rule_fails_what_it_is_for() -> None:
    images = np.random.default_rng(1).random((8, 1, 8, 8, 8)).astype(np.float32)
    images[1] = 0.5
    images[2, 0, :4] = 2.0
    measured = pd.DataFrame(
        {"tissue_ml": 1100.0, "icv_ml": 1500.0, "ventricles_ml": 30.0, "sharpness": 0.8, "age_spread_years": 1.0}, index=range(8)
    )
    measured.loc[3, "tissue_ml"] = 300.0
    measured.loc[4, "ventricles_ml"] = 600.0
    measured.loc[5, "sharpness"] = 0.2
    measured.loc[6, ["tissue_ml", "icv_ml"]] = 550.0, 750.0  # half a brain has the proportions of one
    measured.loc[7, "age_spread_years"] = 9.0
    reasons = [
        "",
        "empty",
        "saturated",
        "implausible brain",
        "implausible ventricles",
        "blurred or noisy",
        "implausible head",
        "unsure age",
    ]
    found = quality(images, measured, Quality(sharpness=(0.4, 1.4), age_spread_years=4.0))
    assert found["qc_reason"].tolist() == reasons
    assert found["qc_pass"].tolist() == [True] + [False] * 7
    assert quality(images, measured, Quality())["qc_pass"].tolist() == [True] + [False] * 4 + [True, False, True]
