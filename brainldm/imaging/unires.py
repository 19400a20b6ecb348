"""Rigid registration with UniRes, the paper's tool (Brudfors et al. 2018): called in its own environment, never imported."""

import json
import os
import shlex
import shutil
import subprocess
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import nibabel as nib
import numpy as np
from nibabel.filebasedimages import ImageFileError

from brainldm.core.errors import ConfigError, DataError, ScanError
from brainldm.imaging.register import register as find_pose
from brainldm.imaging.resample import spacing_mm

INSTALL = (
    "install it (conda env create --file envs/unires.yaml && conda run --name unires sh envs/unires.post-deploy.sh) "
    "and set preprocess.unires_command to the path of its `unires`, or set preprocess.backend to greedy"
)
VOXEL_MM = 1.0  # of UniRes' output
RIGID_TOLERANCE = 1e-3
ATLAS_MM, ATLAS_SIMILARITY, ATLAS_SEED = 2.0, 0.75, 1
STDERR_LINES = 3
FOREIGN = ("PYTHONPATH", "PYTHONHOME")  # they belong to this process' Python


class UniresResult(NamedTuple):
    """A rigid transform [4, 4] from MNI mm to the scan's RAS mm, and the volume to resample with it, with its affine.

    The volume is the scan as it was given, or the super-resolved one: that lies in the scan's space too, on a grid of its own.
    """

    mni_to_native: np.ndarray
    volume: np.ndarray
    affine: np.ndarray


class Answer(NamedTuple):
    """What the driver found: atlas RAS mm to the scan's RAS mm [4, 4], the volume that UniRes wrote in atlas space, the atlas."""

    atlas_to_native: np.ndarray
    volume: Path
    atlas: Path


def register(volume: np.ndarray, affine: np.ndarray, command: str, super_resolution: bool = False, name: str = "the scan") -> UniresResult:
    """Find the pose of a T1w scan [X, Y, Z] whose voxels `affine` maps to RAS mm; with `super_resolution`, sharpen it as well.

    A scan of 1 mm voxels is only registered, because UniRes has nothing to super-resolve there and would denoise it.
    ConfigError without UniRes, DataError without its atlas, ScanError (naming the scan by `name`) where UniRes fails.
    """
    interpreter = find_interpreter(command)
    sharpen = super_resolution and bool((np.abs(spacing_mm(affine) - VOXEL_MM) > 1e-3).any())
    with TemporaryDirectory(prefix="brainldm-unires-") as folder:
        answer = call(interpreter, volume, affine, sharpen, Path(folder), name)
        mni_to_native = answer.atlas_to_native @ mni_to_atlas(answer.atlas)
        if not sharpen:
            return UniresResult(mni_to_native, volume, affine)
        sharp, sharp_affine = _read(answer.volume)
        return UniresResult(mni_to_native, sharp, answer.atlas_to_native @ sharp_affine)


def find_interpreter(command: str) -> Path:
    """The Python of UniRes' environment: the one its console script starts with, else the one beside it. ConfigError if there is none."""
    found = shutil.which(Path(command).expanduser())
    if found is None:
        raise ConfigError(f"preprocess.unires_command: expected the command of UniRes, found no {command!r}; {INSTALL}")
    script = Path(found).resolve()
    for python in (_shebang(script), script.with_name("python")):
        if python and os.access(python, os.X_OK):
            return python
    raise ConfigError(f"preprocess.unires_command: expected a console script of Python, found {found}, with no Python beside it; {INSTALL}")


def _shebang(script: Path) -> Path | None:
    """The interpreter that a script's first line names, if it is a Python; not resolved, for a link is what makes an environment."""
    with script.open("rb") as handle:
        line = handle.readline().decode(errors="replace")
    words = line[2:].split() if line.startswith("#!") else []
    return Path(words[0]) if words and Path(words[0]).name.startswith("python") else None


def call(interpreter: Path, volume: np.ndarray, affine: np.ndarray, super_resolution: bool, folder: Path, name: str) -> Answer:
    """Run the driver on this scan in `folder`, an empty one; errors as of `register`."""
    scan, job, answer = folder / "scan.nii", folder / "job.json", folder / "answer.json"
    nib.save(nib.Nifti1Image(np.asarray(volume, np.float32), affine), scan)
    order = {"scan": str(scan), "folder": str(folder), "super_resolution": super_resolution, "answer": str(answer)}
    job.write_text(json.dumps(order), encoding="utf-8")
    # A copy, because Python looks first in the script's own folder, where our unires.py would hide theirs.
    driver = folder / "driver.py"
    driver.write_bytes((files("brainldm.imaging") / "unires_driver.py").read_bytes())
    _run([str(interpreter), str(driver), str(job)], answer, folder, name)
    found = json.loads(answer.read_text(encoding="utf-8"))
    if "fault" in found:
        raise DataError(f"{interpreter}: {found['fault']}")
    return Answer(_rigid(found["atlas_to_native"], name), Path(found["volume"]), Path(found["atlas"]))


def _run(words: list[str], answer: Path, folder: Path, name: str) -> None:
    environment = {key: value for key, value in os.environ.items() if key not in FOREIGN}
    try:
        done = subprocess.run(words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError as error:
        raise ConfigError(f"{words[0]}: expected the Python of UniRes, found that it cannot be run ({error}); {INSTALL}") from None
    if done.returncode or not answer.exists():
        last = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()][-STDERR_LINES:]
        said = "; ".join(last) or "nothing on stderr"
        raise ScanError(f"{name}: expected UniRes to register it, found exit status {done.returncode} of {shlex.join(words[:1])}: {said}")


def _rigid(rows: list[list[float]], name: str) -> np.ndarray:
    """The matrix [4, 4], once it has passed for a rotation and a shift."""
    matrix = np.array(rows, float)
    whole = matrix.shape == (4, 4) and np.isfinite(matrix).all() and np.allclose(matrix[3], (0, 0, 0, 1))
    rotation = matrix[:3, :3]
    if not whole or not np.allclose(rotation @ rotation.T, np.eye(3), atol=RIGID_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise ScanError(f"{name}: expected a rigid transform from UniRes, found {matrix.round(4).tolist()}")
    return matrix


@cache
def mni_to_atlas(atlas: Path) -> np.ndarray:
    """Where MNI152 lies in UniRes' atlas [4, 4], RAS mm to RAS mm, rigid: the atlas is one of SPM's kind, not the template of our grid."""
    volume, affine = _read(atlas)
    pose = find_pose(volume, affine, ATLAS_MM, ATLAS_SIMILARITY, ATLAS_SEED)
    if pose.similarity < ATLAS_SIMILARITY:
        raise DataError(
            f"{atlas}: expected a T1w atlas of the head, found a similarity to MNI152 of {pose.similarity:.2f} at the best pose"
        )
    return pose.mni_to_native


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """A volume [X, Y, Z], float32, its axes turned to point mostly right, anterior, superior, and its affine."""
    try:
        image = nib.as_closest_canonical(nib.load(path))
        return np.asarray(image.dataobj, np.float32), image.affine
    except (OSError, EOFError, ValueError, ImageFileError) as error:
        raise DataError(f"{path}: expected a NIfTI image, found none that can be read ({error})") from None
