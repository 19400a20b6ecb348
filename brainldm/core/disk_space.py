"""How much disk a run will take, against what is free."""

import shutil
from pathlib import Path

from brainldm.core.config import Config
from brainldm.core.findings import Finding, error, size, warning

# Measured at 160 x 224 x 160 voxels of 1 mm with formats.nifti, 2026-11-21: 0.4 (brain only, 2 % noise inside), 1.4 (2 % Rician noise
# everywhere), 1.5 (5 %); the published dataset of 100,000 volumes takes 1.0 (591 GB).
BYTES_PER_VOXEL = 1.4  # an int16 volume
BYTES_PER_LABEL = 0.06  # a voxel of a label map; measured 0.05
STATE = 5  # a network's weights, as often as a saved state of its training and its checkpoint hold as much: weights, EMA, 2 x Adam, weights
TIGHT = 0.9  # of what is free


def needed(config: Config, n_scans: int, latent_size: int, n_parameters: int) -> dict[str, float]:
    """Estimated bytes by results folder; `latent_size` numbers a latent, `n_parameters` in all networks."""
    i, j, k = config.grid.shape
    voxels = i * j * k
    return {
        "preprocess": n_scans * voxels * BYTES_PER_VOXEL,
        "segment": n_scans * voxels * BYTES_PER_LABEL,
        "encode": n_scans * latent_size * 2 * 2,  # mu and sigma, float16
        "train_*": STATE * 4 * n_parameters,
        "generate": config.request.n_rows * voxels * BYTES_PER_VOXEL,
        "generate (latents)": config.request.n_rows * latent_size * 2,  # float16
        "pack": config.request.n_rows * voxels * BYTES_PER_VOXEL,
        "release": config.request.n_rows * voxels * BYTES_PER_VOXEL * (config.release.packaging == "files"),  # else links
    }


def check(folder: Path, needs: dict[str, float]) -> Finding:
    """What is needed against what is free where `folder` is or will be; what it holds already is counted as done."""
    there = next(parent for parent in (folder.resolve(), *folder.resolve().parents) if parent.exists())
    found_already = [path.lstat() for path in folder.rglob("*") if path.is_file()] if folder.exists() else []
    held = sum({file.st_ino: file.st_size for file in found_already}.values())  # a packed shard and its link in the release count once
    free, need = shutil.disk_usage(there).free, max(0.0, sum(needs.values()) - held)
    largest = max(needs, key=lambda name: needs[name])
    found = f"{size(need)} to write (estimate), {size(free)} free"
    if need <= TIGHT * free:
        return Finding("disk", found)
    remedy = f"free space below {there}, run on a larger disk, or lower request.n_rows; the most, {size(needs[largest])}, is of {largest}"
    cause = "the results will not fit on the disk" if need > free else "the results will all but fill the disk"
    return (error if need > free else warning)("disk", found, cause, remedy)
