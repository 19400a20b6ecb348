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
from brainldm.core.files import read_json, write_json
from brainldm.core.grid import Grid
from brainldm.core.intensities import limited, survey
from brainldm.core.judging import Quality
from brainldm.core.labels import columns_mm3, summary_ml
from brainldm.formats.nifti import SLOPE, encode_volume, quantise, write_bytes
from brainldm.formats.scan import Scan, fingerprint, read_scan
from brainldm.imaging.intensity import scaled, unit_ends
from brainldm.imaging.placing import place
from brainldm.metrics.quality import quality
from brainldm.metrics.sharpness import sharpness
from brainldm.models import age, ruler

FOLDER = "volumes"  # of volumes on the grid that a score keeps
KEPT = re.compile(rf"{FOLDER}/[0-9a-f]{{20}}-[0-9a-f]{{12}}\.(nii\.gz|json)")  # their names: checksums of image and settings
PLACES_MM = 0.01  # how far a voxel on the grid may be from its place
SEEN = (1.0, 99.8)  # percentiles of a volume that tell the range of its intensities
NEAR_0 = 0.2  # the lower one, in [0, 1]; volumes of ours: within 0.02
NEAR_1 = (0.6, 1.6)  # the upper one; volumes of ours: 0.9 to 1.1
NEAR_MINUS_1 = 0.3  # the lower one, in [-1, 1]
AS_IT_IS = "as it is"
AS_THEY_ARE = "as they are"


class OnGrid(NamedTuple):
    """A volume on the grid, and what was done to bring it there."""

    path: Path
    placed: str  # AS_IT_IS, or registered
    intensities: str  # AS_THEY_ARE, or which became 0 and 1
    header_notes: str  # decisions about its header, if it called for any


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


def on_grid(path: Path, grid: Grid, options: Preprocess, seed: int, keep: Path) -> OnGrid:
    """Bring an image of any place and voxels onto the grid; one whose voxels lie there stays where it is, whatever file holds it.

    Intensities in about [0, 1] stay as they are, those in about [-1, 1] are shifted and halved, all others are scaled as preprocessing
    does. The file below `keep` is named by the image's and the settings' checksum, so that a second call finds it.
    ScanError where the image cannot be used.
    """
    settings = hashlib.sha256(f"{grid}{options}{seed}".encode()).hexdigest()
    kept = keep / f"{fingerprint(path)[:20]}-{settings[:12]}.nii.gz"
    told = kept.with_name(kept.name.replace(".nii.gz", ".json"))
    if kept.exists() and told.exists():
        return OnGrid(kept, **read_json(told))
    scan = read_scan(path)
    if _lies_on(scan, grid):
        volume, intensities = _in_unit_range(scan.volume, options, str(path))
        placed = AS_IT_IS
    else:
        found = place(scan.volume, scan.affine, grid, options, seed, str(path))
        volume, intensities = found.volume, _scaled_text(found.intensities["raw_at_0"], found.intensities["raw_at_1"])
        placed = "registered"
    write_bytes(kept, encode_volume(quantise(volume), grid, "brainldm score"))
    how = {"placed": placed, "intensities": intensities, "header_notes": scan.geometry.header_notes}
    write_json(told, how)
    return OnGrid(kept, **how)


def _lies_on(scan: Scan, grid: Grid) -> bool:
    """Whether the scan's voxels are those of the grid, in their places."""
    return scan.volume.shape == grid.shape and np.allclose(scan.affine, grid.affine, atol=PLACES_MM)


def _in_unit_range(volume: np.ndarray, options: Preprocess, name: str) -> tuple[np.ndarray, str]:
    """The volume in about [0, 1], and what was done to its intensities."""
    low, top = (float(value) for value in np.percentile(volume, SEEN))
    if low >= -NEAR_0 and NEAR_1[0] <= top <= NEAR_1[1]:
        return volume, AS_THEY_ARE
    if abs(low + 1) <= NEAR_MINUS_1 and NEAR_1[0] <= (top + 1) / 2 <= NEAR_1[1]:
        return (volume + 1) / 2, "-1 to 1 became 0 to 1"
    usual = limited(volume, survey(volume))
    at_0, at_1 = unit_ends(usual, options.intensity_percentiles, name)
    return scaled(usual, at_0, at_1), _scaled_text(float(at_0), float(at_1))


def _scaled_text(at_0: float, at_1: float) -> str:
    return f"{at_0:.4g} to {at_1:.4g} became 0 to 1"
