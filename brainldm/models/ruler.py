"""What measures volumes, behind one interface: the project's own segmenter, SynthSeg's weights, or FreeSurfer's mri_synthseg."""

import math
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, Protocol

import nibabel as nib
import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric

from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.core.labels import CSF, VENTRICLES, from_columns_mm3, summary_ml
from brainldm.models import segmenter, synthseg

LAST_LINES = 5


class Segmented(NamedTuple):
    """Label maps [N,I,J,K], uint8, FreeSurfer ids, on the grid of `affine`; volume [N] in mL of every label."""

    labels: np.ndarray
    affine: np.ndarray
    label_ml: dict[int, np.ndarray]


class Ruler(Protocol):
    """Measures images [N,1,I,J,K] in [0, 1] on the grid it was loaded for."""

    def segment(self, images: torch.Tensor) -> Segmented:
        """Label maps and volumes."""


def load(path: Path, grid: Grid, fabric: Fabric) -> Ruler:
    """The ruler that `path` holds: a checkpoint of the project's segmenter, an official SynthSeg .h5, or else an executable.

    An executable is called as FreeSurfer's mri_synthseg. DataError for whatever cannot be read or run.
    """
    if path.suffix == ".safetensors":
        own = segmenter.load(path)
        _check_grid(own, grid, path)
        return _Own(own, grid, fabric)
    if path.suffix == ".h5":
        network = synthseg.load(path)
        if CSF not in network.labels:
            raise DataError(
                f"{path}: expected SynthSeg 2.0, found {network.version}, which has no label csf: head size is not known without it"
            )
        return _SynthSeg(network, grid, fabric)
    return _Command(path, grid)


def _check_grid(network: segmenter.Segmenter, grid: Grid, path: Path) -> None:
    """DataError unless a segmenter of ours is of this grid: its voxels, and sides that its levels divide."""
    step = network.fold * 2 ** (int(network.spec["levels"]) - 1)
    if not math.isclose(network.voxel_ml, grid.voxel_ml, rel_tol=1e-3) or any(side % step for side in grid.shape):
        raise DataError(
            f"{path}: this segmenter is of voxels of {network.voxel_ml:g} mL and sides that are multiples of {step}; "
            f"the grid has {grid.voxel_ml:g} mL and {grid.shape}. Take the segmenter of the same run."
        )


def volumes_ml(ruler: Ruler, images: torch.Tensor) -> dict[str, np.ndarray]:
    """The volumes [N] in mL that matter here, by column name (core.labels.summary_ml)."""
    return summary_ml(ruler.segment(images).label_ml)


class _Own:
    def __init__(self, network: segmenter.Segmenter, grid: Grid, fabric: Fabric) -> None:
        self.network, self.affine = fabric.setup_module(network), grid.affine
        self.network.mark_forward_method("segment")

    def segment(self, images: torch.Tensor) -> Segmented:
        labels, label_ml = self.network.segment(images)
        return Segmented(labels, self.affine, label_ml)


class _SynthSeg:
    def __init__(self, network: synthseg.SynthSeg, grid: Grid, fabric: Fabric) -> None:
        self.network, self.affine, self.fabric = network.to(fabric.device), grid.affine, fabric

    def segment(self, images: torch.Tensor) -> Segmented:
        with self.fabric.autocast():
            found = [synthseg.segment(image, self.affine, self.network) for image in images[:, 0].float().cpu().numpy()]
        columns = {name: np.array([one.volumes_mm3[name] for one in found]) for name in found[0].volumes_mm3}
        return Segmented(np.stack([one.labels for one in found]).astype(np.uint8), found[0].affine, from_columns_mm3(columns))


class _Command:
    """Takes folders: --i and --o; writes a label map of each image, <name>_synthseg.nii.gz, and the volumes as CSV, --vol."""

    def __init__(self, path: Path, grid: Grid) -> None:
        self.path, self.affine = path.resolve(), grid.affine

    def segment(self, images: torch.Tensor) -> Segmented:
        with TemporaryDirectory() as folder:
            given, made, volumes = Path(folder) / "in", Path(folder) / "out", Path(folder) / "volumes.csv"
            given.mkdir()
            for index, image in enumerate(images[:, 0].float().cpu().numpy()):
                nib.Nifti1Image(image, self.affine).to_filename(given / f"{index:06d}.nii.gz")
            self._call("--i", given, "--o", made, "--vol", volumes, "--threads", torch.get_num_threads())
            return self._read(made, volumes, len(images))

    def _call(self, *arguments: object) -> None:
        try:
            done = subprocess.run([str(self.path), *map(str, arguments)], capture_output=True, text=True)
        except OSError as error:
            raise DataError(
                f"{self.path}: expected segmenter to be a checkpoint (.safetensors), SynthSeg weights (.h5) or an executable such as "
                f"FreeSurfer's mri_synthseg, found none that runs ({error.strerror})"
            ) from None
        if done.returncode:
            said = "\n".join(done.stderr.splitlines()[-LAST_LINES:])
            raise DataError(f"{self.path}: expected exit status 0, found {done.returncode}; it said:\n{said}")

    def _read(self, folder: Path, volumes: Path, n: int) -> Segmented:
        try:
            table = pd.read_csv(volumes)
            maps = [nib.Nifti1Image.from_filename(path) for path in sorted(folder.glob("*_synthseg.nii.gz"))]
            labels = np.stack([np.asarray(image.dataobj).astype(np.uint8) for image in maps])
        except (OSError, ValueError) as error:
            raise DataError(f"{self.path}: expected label maps and volumes of {n} images, found none that can be read ({error})") from None
        table = table.sort_values(table.columns[0])  # the images' names
        label_ml = from_columns_mm3({name: table[name].to_numpy(float) for name in table.columns[1:]})
        if len(table) != n or len(labels) != n or not set(VENTRICLES) <= set(label_ml):
            raise DataError(
                f"{self.path}: expected label maps and volumes of {n} images with SynthSeg's names, "
                f"found {len(labels)} maps and {len(table)} rows with the columns {', '.join(table.columns)}"
            )
        return Segmented(labels, maps[0].affine, label_ml)
