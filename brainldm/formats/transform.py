"""Rigid transforms as ITK text files, which ANTs, Slicer, SimpleITK and nitransforms read: `<name>_from-T1w_to-MNI152_mode-image_xfm.txt`.

An ITK transform maps points of the output image to points of the input image, in LPS mm: the file that resamples a scan into MNI
maps MNI to the scan. BIDS' mode-image says so. AffineTransform of all ITK's types, because every reader knows its twelve numbers.
"""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from brainldm.core.errors import DataError
from brainldm.core.files import atomic

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # ITK's axes from RAS
SUFFIX = "_from-T1w_to-MNI152_mode-image_xfm.txt"


def write_transform(path: Path, mni_to_native: np.ndarray) -> None:
    """Write a transform [4, 4] from RAS mm of MNI to RAS mm of the scan, atomically."""
    matrix = LPS @ mni_to_native @ LPS
    transform = sitk.AffineTransform(3)
    transform.SetMatrix(matrix[:3, :3].ravel().tolist())
    transform.SetTranslation(matrix[:3, 3].tolist())
    try:
        with atomic(path) as temporary:
            sitk.WriteTransform(transform, str(temporary))
    except RuntimeError as error:
        raise DataError(f"{path}: expected to write there, found that it fails ({str(error).strip().splitlines()[-1]})") from None


def read_transform(path: Path) -> np.ndarray:
    """The transform [4, 4], RAS mm of MNI to RAS mm of the scan, of an ITK text file; DataError if it holds no linear transform."""
    try:
        transform = sitk.AffineTransform(sitk.ReadTransform(str(path)))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(f"{path}: expected a linear transform of ITK, found none ({reason})") from None
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    matrix[:3, 3] = transform.TransformPoint((0.0, 0.0, 0.0))
    return np.asarray(LPS @ matrix @ LPS)
