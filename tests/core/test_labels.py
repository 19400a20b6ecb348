import numpy as np
import pytest

from brainldm.core.covariates import TEMPLATE_ICV_ML
from brainldm.core.errors import DataError
from brainldm.core.labels import DEMO, MIRRORED, NAMES, columns_mm3, from_columns_mm3, summary_ml

LABEL_ML = {label: np.array([10.0 + label, 2.0 * label]) for label in NAMES}


def test_there_are_synthsegs_33_labels_and_each_side_mirrors_the_other() -> None:
    assert len(NAMES) == 33
    assert list(NAMES) == sorted(NAMES)
    assert set(DEMO) <= set(NAMES)
    assert all(MIRRORED[MIRRORED[label]] == label for label in MIRRORED)
    assert all(NAMES[label].replace("left", "right") == NAMES[MIRRORED[label]] for label in MIRRORED if NAMES[label].startswith("left"))


def test_columns_carry_synthsegs_names_in_mm3_and_come_back() -> None:
    columns = columns_mm3(LABEL_ML)
    assert next(iter(columns)) == "total intracranial"
    assert columns["left lateral ventricle"].tolist() == [14000, 8000]
    again = from_columns_mm3({"subject": np.array(["a", "b"]), **columns})
    assert {label: values.tolist() for label, values in again.items()} == {k: v.tolist() for k, v in LABEL_ML.items() if k}


def test_ventricles_are_four_labels_and_brain_volume_is_normalised() -> None:
    found = summary_ml(LABEL_ML)
    assert found["ventricles_ml"].tolist() == [40 + 96, 2 * 96]
    assert found["icv_ml"][1] == 2 * sum(NAMES)
    assert found["tissue_ml"][1] == 2 * (sum(NAMES) - 96 - 14 - 15 - 24)
    assert found["brain_ml"] == pytest.approx(found["tissue_ml"] * TEMPLATE_ICV_ML / found["icv_ml"])
    doubled = summary_ml({label: 2 * ml for label, ml in LABEL_ML.items()})
    assert doubled["brain_ml"] == pytest.approx(found["brain_ml"])  # a larger head of the same kind
    assert doubled["ventricles_ml"] == pytest.approx(2 * found["ventricles_ml"])


def test_without_csf_head_size_is_unknown() -> None:
    with pytest.raises(DataError, match=r"csf \(24\)"):
        summary_ml({2: np.array([1.0])})
