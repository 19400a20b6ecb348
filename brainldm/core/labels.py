"""Label maps: FreeSurfer ids, their names as SynthSeg writes them, and the volumes that follow from them."""

import numpy as np

from brainldm.core.covariates import TEMPLATE_ICV_ML

NAMES = {
    0: "background",
    2: "left cerebral white matter",
    3: "left cerebral cortex",
    4: "left lateral ventricle",
    24: "csf",
    41: "right cerebral white matter",
    42: "right cerebral cortex",
    43: "right lateral ventricle",
}
VALUES = tuple(NAMES)
VENTRICLES = (4, 43)
TISSUE = (2, 3, 41, 42)


def summary_ml(label_ml: dict[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Volumes in mL from the volume of every label: one column per label, the ventricles, ICV, and the normalised brain volume.

    brain_ml = (grey + white) x template ICV / ICV: normalised for head size as UK Biobank field 25009; ventricles_ml is not.
    """
    columns = {f"{NAMES[value].replace(' ', '_')}_ml": label_ml[value] for value in VALUES if value}
    icv_ml = sum((label_ml[value] for value in VALUES if value), np.zeros_like(label_ml[2]))
    tissue_ml = sum((label_ml[value] for value in TISSUE), np.zeros_like(icv_ml))
    return {
        "ventricles_ml": label_ml[VENTRICLES[0]] + label_ml[VENTRICLES[1]],
        "brain_ml": tissue_ml * TEMPLATE_ICV_ML / np.maximum(icv_ml, 1.0),
        "icv_ml": icv_ml,
        **columns,
    }
