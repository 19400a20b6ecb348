"""SynthSeg in PyTorch: brain segmentation at 1 mm of scans of any contrast and resolution (Billot et al. 2023, Med. Image Anal. 86:102789).

network = load(Path("synthseg_2.0.h5")).to("cuda")
labels, affine, volumes_mm3 = segment(image, affine, network)

Cost of `segment` at 160x224x160 and the official widths on one thread of an AVX-512 Xeon, 2026-11-21 (benchmarks/synthseg.py):
40 CPU-s, nearly all of it the network's two passes, and 3.4 GB at the peak.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from brainldm.core.errors import ScanError
from brainldm.models import synthseg_files
from brainldm.models.synthseg_grid import PAD_MULTIPLE, orientation, pad, rescale, to_1mm, voxel_mm
from brainldm.models.synthseg_labels import CLASSES, volume_table
from brainldm.models.synthseg_network import SynthSeg

SURE = 0.25  # posteriors above it make the bodies whose largest component is kept
FAST = 0.2  # without these bodies, posteriors up to it are dropped
MAX_CHANNELS = 10  # a longer fourth axis is time


class Segmentation(NamedTuple):
    """FreeSurfer ids [I,J,K] (int32) with their affine [4,4], and mm³ by SynthSeg's column names."""

    labels: np.ndarray
    affine: np.ndarray
    volumes_mm3: dict[str, float]


def load(path: Path) -> SynthSeg:
    """The network of an official Keras file, 1.0 or 2.0, frozen, on the CPU; DataError, naming file and layer, for any other."""
    return SynthSeg(synthseg_files.read(path))


@torch.inference_mode()
def segment(
    image: np.ndarray, affine: np.ndarray, network: SynthSeg, *, fast: bool = False, min_side: int = 128, name: str = "image"
) -> Segmentation:
    """The whole inference, on the image's own axes, at 1 mm; volumes are sums of posteriors.

    `fast` neither mirrors nor cleans up by structure. The network sees at least `min_side` voxels a side. ScanError, with `name`, for
    an image that is not 3-D (of several channels the first is taken), not finite, or whose affine is singular.
    """
    volume, affine = to_1mm(*_checked(image, affine, name))
    turned = orientation(affine)
    padded, inside = pad(rescale(turned.to_ras(volume)), max(PAD_MULTIPLE, network.side_multiple), min_side)
    posteriors = network.posteriors(padded, flip=not fast)
    inside = (slice(None), *inside)
    posteriors = _without_doubt(posteriors[inside]) if fast else _one_body_each(posteriors, network.labels)[inside]
    _normalise(posteriors)
    labels = np.array(network.labels, np.int32)[posteriors.argmax(0).cpu().numpy()]
    voxel_mm3 = float(np.prod(voxel_mm(affine)))
    volumes_mm3 = [float(posterior.sum(dtype=torch.float64)) * voxel_mm3 for posterior in posteriors]
    return Segmentation(np.ascontiguousarray(turned.from_ras(labels)), affine, volume_table(network.labels, volumes_mm3))


def _checked(image: np.ndarray, affine: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The image's first channel [I,J,K] and its affine in double precision."""
    shape, affine = np.shape(image), np.asarray(affine, np.float64)
    if len(shape) == 4 and 0 < shape[3] <= MAX_CHANNELS:
        image = image[..., 0]
    if np.ndim(image) != 3 or not np.size(image):
        raise ScanError(f"{name}: expected a 3-D image, found shape {shape}")
    if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.matrix_rank(affine[:3, :3]) < 3:
        raise ScanError(f"{name}: expected an invertible affine [4, 4], found {affine.tolist()}")
    if not np.isfinite(image).all():
        raise ScanError(f"{name}: expected finite intensities, found {int((~np.isfinite(image)).sum())} that are not")
    return image, affine


def _largest(mask: torch.Tensor) -> torch.Tensor:
    """The largest 6-connected component of a mask [I,J,K], the first of equals; nothing of nothing."""
    box = ndimage.find_objects(mask.cpu().numpy().astype(np.uint8))[:1]
    kept = torch.zeros_like(mask)
    if box:
        components, _ = ndimage.label(mask[box[0]].cpu().numpy())
        largest = np.bincount(components.ravel())[1:].argmax() + 1
        kept[box[0]] = torch.from_numpy(components == largest).to(mask.device)
    return kept


def _one_brain(posteriors: torch.Tensor) -> torch.Tensor:
    """Everything but the background only within the largest body of it; in place, [label,I,J,K]."""
    brain = _largest(posteriors[1:].sum(0) > SURE)
    posteriors[1:] *= brain
    return posteriors


def _one_body_each(posteriors: torch.Tensor, labels: tuple[int, ...]) -> torch.Tensor:
    """As `_one_brain`, and each topological class only within its own largest body."""
    _one_brain(posteriors)
    for members in CLASSES:
        channels = [labels.index(value) for value in members]
        body = _largest((posteriors[channels] > SURE).any(0))
        for channel in channels:
            posteriors[channel] *= body
    return posteriors


def _without_doubt(posteriors: torch.Tensor) -> torch.Tensor:
    """As `_one_brain`, and low posteriors dropped: the short way."""
    _one_brain(posteriors)
    for posterior in posteriors[1:]:
        posterior *= posterior > FAST
    return posteriors


def _normalise(posteriors: torch.Tensor) -> None:
    """Divide by the sum over labels, in place; a voxel where nothing is left is background."""
    total = posteriors.sum(0)
    posteriors[0][total == 0] = 1
    posteriors /= total.where(total > 0, 1.0)
