import numpy as np
import pandas as pd

from brainldm.core.judging import Quality
from brainldm.metrics.quality import quality


def test_each_rule_fails_what_it_is_for() -> None:
    images = np.random.default_rng(1).random((6, 1, 8, 8, 8)).astype(np.float32)
    images[1] = 0.5
    images[2, 0, :4] = 2.0
    measured = pd.DataFrame({"tissue_ml": 1100.0, "icv_ml": 1500.0, "ventricles_ml": 30.0, "sharpness": 0.8}, index=range(6))
    measured.loc[3, "tissue_ml"] = 300.0
    measured.loc[4, "ventricles_ml"] = 600.0
    measured.loc[5, "sharpness"] = 0.2
    reasons = ["", "empty", "saturated", "implausible brain", "implausible ventricles", "blurred or noisy"]
    found = quality(images, measured, Quality(sharpness=(0.4, 1.4)))
    assert found["qc_reason"].tolist() == reasons
    assert found["qc_pass"].tolist() == [True] + [False] * 5
    assert quality(images, measured, Quality())["qc_pass"].tolist() == [True] + [False] * 4 + [True]
