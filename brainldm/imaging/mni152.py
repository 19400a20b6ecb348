"""The MNI152 maps that ship inside the nilearn wheel: ICBM 2009a symmetric (Fonov et al. 2011), 1 mm, skull-stripped."""

import gzip
from importlib.resources import files
from typing import Literal

import nibabel as nib
import numpy as np

from brainldm.core.errors import DataError

MAP_FILE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"
CENTER_MM = (0.0, -17.0, 6.0)  # the middle of the brain


def read_map(name: Literal["t1", "gm", "wm"]) -> tuple[np.ndarray, np.ndarray]:
    """A map as float32 [197, 233, 189] in 0 ... 255, RAS+, and its affine [4, 4]."""
    path = files("nilearn") / MAP_FILE.format(name)  # a plain file: nilearn.datasets takes seconds to import
    if not path.is_file():
        raise DataError(f"{path}: expected the MNI152 template of the nilearn wheel, found nothing; install nilearn 0.8 or later")
    image = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    return np.asarray(image.dataobj, np.float32), image.affine
