"""Label maps: FreeSurfer ids, their names as SynthSeg writes them (Billot et al. 2023), and the volumes that follow from them."""

from collections.abc import Mapping

import numpy as np

from brainldm.core.covariates import TEMPLATE_ICV_ML
from brainldm.core.errors import DataError

_MIDLINE = {0: "background", 14: "3rd ventricle", 15: "4th ventricle", 16: "brain-stem", 24: "csf"}
_SIDED = {
    2: (41, "cerebral white matter"),
    3: (42, "cerebral cortex"),
    4: (43, "lateral ventricle"),
    5: (44, "inferior lateral ventricle"),
    7: (46, "cerebellum white matter"),
    8: (47, "cerebellum cortex"),
    10: (49, "thalamus"),
    11: (50, "caudate"),
    12: (51, "putamen"),
    13: (52, "pallidum"),
    17: (53, "hippocampus"),
    18: (54, "amygdala"),
    26: (58, "accumbens area"),
    28: (60, "ventral DC"),
}
NAMES = dict(
    sorted(
        {
            **_MIDLINE,
            **{left: f"left {name}" for left, (_, name) in _SIDED.items()},
            **{right: f"right {name}" for right, name in _SIDED.values()},
        }.items()
    )
)
MIRRORED = {left: right for left, (right, _) in _SIDED.items()} | {right: left for left, (right, _) in _SIDED.items()}
CSF = 24
VENTRICLES = (4, 5, 43, 44)
FLUID = (14, 15, CSF, *VENTRICLES)
DEMO = (0, 2, 3, 4, CSF, 41, 42, 43)  # the labels of the embedded population
ICV = "total intracranial"


def summary_ml(label_ml: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
    """The volumes in mL that matter here, from those of the labels: ventricles, ICV, tissue, and tissue normalised for head size.

    ventricles_ml: lateral and inferior lateral, both sides, in native size, as UK Biobank field 25004.
    tissue_ml: every label that is neither background nor fluid. icv_ml: every label but the background.
    brain_ml = tissue_ml x TEMPLATE_ICV_ML / icv_ml: normalised for head size, as UK Biobank field 25009.
    DataError if CSF is no label: the intracranial volume needs it.
    """
    if CSF not in label_ml:
        raise DataError("expected a segmentation with the label csf (24), as SynthSeg 2.0 gives, found none: it tells the size of the head")
    zero = np.zeros_like(label_ml[CSF])
    icv_ml = sum((ml for label, ml in label_ml.items() if label), zero)
    tissue_ml = sum((ml for label, ml in label_ml.items() if label and label not in FLUID), zero)
    return {
        "ventricles_ml": sum((label_ml[label] for label in VENTRICLES if label in label_ml), zero),
        "brain_ml": tissue_ml * TEMPLATE_ICV_ML / np.maximum(icv_ml, 1.0),
        "icv_ml": icv_ml,
        "tissue_ml": tissue_ml,
    }


def columns_mm3(label_ml: Mapping[int, np.ndarray]) -> dict[str, np.ndarray]:
    """Volumes in mm3 under SynthSeg's own column names, the intracranial one first where CSF is a label."""
    shown = {NAMES[label]: 1000 * ml for label, ml in label_ml.items() if label}
    return {ICV: 1000 * summary_ml(label_ml)["icv_ml"], **shown} if CSF in label_ml else shown


def from_columns_mm3(columns: Mapping[str, np.ndarray]) -> dict[int, np.ndarray]:
    """The inverse of `columns_mm3`: volumes in mL by label; other columns are passed over."""
    ids = {name: label for label, name in NAMES.items()}
    return {ids[name]: np.asarray(columns[name]) / 1000 for name in columns if name in ids}
