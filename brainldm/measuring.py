"""What measures volumes, real or synthetic: the ruler, the age model, and the checks of quality, together on one device."""

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric

from brainldm.core.config import Preprocess
from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.core.grid import Grid
from brainldm.core.judging import Quality
from brainldm.core.labels import columns_mm3, summary_ml
from brainldm.formats.nifti import SLOPE, encode_volume, quantise, read_volume, write_bytes
from brainldm.formats.scan import read_scan
from brainldm.imaging.placing import place
from brainldm.metrics.quality import quality
from brainldm.metrics.sharpness import sharpness
from brainldm.models import age, ruler

FOLDER = "volumes"  # of volumes on the grid that a score keeps
KEPT = re.compile(rf"{FOLDER}/[0-9a-f]{{20}}-[0-9a-f]{{12}}\.nii\.gz")  # their names: checksums of image and settings
LARGEST = 2.0  # of intensities in about [0, 1]: what is brighter is of another scale


class Instruments(NamedTuple):
    """Loaded for one grid."""

    ruler: ruler.Ruler
    age: age.AgeModel
    device: torch.device

    def measure(self, images: np.ndarray, rules: Quality) -> pd.DataFrame:
        """A row for each of images [N,1,I,J,K]: volumes in mL, age, sharpness, whether it passes the rules; SynthSeg's columns in mm3."""
        tensor = torch.from_numpy(images).to(self.device)
        label_ml = self.ruler.segment(tensor).label_ml
        ages = self.age.answers(tensor)
        years = {"age_predicted_years": ages[0], "age_spread_years": ages.std(0)}
        measured = pd.DataFrame({**summary_ml(label_ml), **years, "sharpness": sharpness(images)})
        return pd.concat([measured, quality(images, measured, rules), pd.DataFrame(columns_mm3(label_ml))], axis=1)


def load(segmenter_model: Path, age_model: Path, grid: Grid, fabric: Fabric) -> Instruments:
    """Both models; DataError if one cannot be read."""
    reads_age = age.load(age_model)
    if tuple(reads_age.spec["shape"]) != grid.shape:
        raise DataError(
            f"{age_model}: this age model reads volumes of {tuple(reads_age.spec['shape'])} voxels, and the grid has {grid.shape}."
        )
    years = fabric.setup_module(reads_age)
    years.mark_forward_method("answers")
    return Instruments(ruler.load(segmenter_model, grid, fabric), years, fabric.device)  # type: ignore[arg-type]


def judge(tools: Instruments, rules: Quality) -> Callable[[np.ndarray], list[str]]:
    """Voxels int16 [N,I,J,K] as files hold them -> what is wrong with each, "" if nothing."""
    return lambda counts: tools.measure(np.ascontiguousarray(counts * np.float32(SLOPE))[:, None], rules)["qc_reason"].tolist()


def on_grid(path: Path, grid: Grid, options: Preprocess, seed: int, keep: Path) -> Path:
    """An image of any place and voxels, on the grid as preprocessing makes it; one that lies on the grid in [0, 1] is taken as it is.

    The file below `keep` is named by the image's and the settings' checksum, so that a second call finds it.
    """
    settings = hashlib.sha256(f"{grid}{options}{seed}".encode()).hexdigest()
    kept = keep / f"{sha256(path)[:20]}-{settings[:12]}.nii.gz"
    if not kept.exists():
        volume = _as_it_is(path, grid)
        if volume is None:
            volume = place(*read_scan(path), grid, options, seed, str(path)).volume
        write_bytes(kept, encode_volume(quantise(volume), grid, "brainldm score"))
    return kept


def _as_it_is(path: Path, grid: Grid) -> np.ndarray | None:
    """The volume, where it lies on the grid and its intensities are in about [0, 1]."""
    try:
        volume = read_volume(path, grid)
    except DataError:
        return None
    return volume if volume.min() >= -LARGEST and 0.5 < volume.max() <= LARGEST else None
