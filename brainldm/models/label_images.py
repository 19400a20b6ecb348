"""Training images synthesised from label maps: the generative model of SynthSeg (Billot et al. 2023), drawn first, then applied.

Label maps are deformed and painted at half the grid's spacing where that is coarse, so that images and targets have partial volume.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation

from brainldm.core.config import TrainSegmenter
from brainldm.core.grid import Grid
from brainldm.models.generation_labels import BECOMES, GENERATED, OUTSIDE, SAME_TISSUE, SIDES, indices, t1_range

COARSE_MM = 2.0  # grids at least this coarse are painted at half their spacing
WARP_POINTS, BIAS_POINTS = 0.04, 0.025  # control points per mm
LATTICE_MM = 8.0  # on which the velocity field is integrated
SQUARINGS = 5
STD = 0.12  # SynthSeg: 30 of 250, the highest standard deviation within a tissue over the highest mean
BRIGHTEST = 1.2  # SynthSeg: clipped at 300 of 250
ISOTROPIC_MM = 4.0  # lowest isotropic resolution
STRIPPED = 0.25  # share of images without skull (ours)


@dataclass(frozen=True)
class LabelMap:
    """Places in GENERATED [X,Y,Z], uint8, with a rim of background, and the matrix [4, 4] from MNI mm to its voxels."""

    index: torch.Tensor
    mni_to_voxel: np.ndarray


class Draw(NamedTuple):
    """All that is random about an image; its noise follows from `seed`. Controls are in mm (velocity) and in log units (bias)."""

    matrix: np.ndarray
    velocity: np.ndarray
    flip: bool
    means: np.ndarray
    stds: np.ndarray
    bias: np.ndarray
    gamma: float
    resolution_mm: np.ndarray
    thickness_mm: np.ndarray
    seed: int


def label_map(labels: np.ndarray, affine: np.ndarray, mni_to_native: np.ndarray, device: torch.device) -> LabelMap:
    """A label map [X,Y,Z] of generation labels, whose voxels `affine` maps to RAS mm; `mni_to_native` maps MNI mm to those."""
    shift = np.eye(4)
    shift[:3, 3] = 1
    padded = torch.from_numpy(np.pad(indices(labels), 1))  # with background: what lies outside is the nearest voxel of the rim
    return LabelMap(padded.to(device), shift @ np.linalg.inv(affine) @ mni_to_native)


def draw(options: TrainSegmenter, grid: Grid, generator: np.random.Generator) -> Draw:
    """One image's random parameters, in SynthSeg's ranges or in narrower ones where the options say so."""
    extent_mm = np.array(grid.shape) * grid.spacing_mm
    warp, bias = (np.maximum(2, np.ceil(extent_mm * density)).astype(int) for density in (WARP_POINTS, BIAS_POINTS))
    means, stds = _appearance(generator.random() < options.any_contrast, generator)
    resolution_mm, thickness_mm = _resolution_mm(options.thickest_mm, generator)
    return Draw(
        matrix=_affine(options, grid, generator),
        velocity=generator.standard_normal((3, *warp)) * generator.uniform(0, options.warp_mm),
        flip=bool(generator.random() < 0.5),
        means=means,
        stds=stds,
        bias=generator.standard_normal(bias) * generator.uniform(0, options.bias) * (generator.random() < 0.95),
        gamma=float(np.exp(generator.normal(0, options.gamma))),
        resolution_mm=resolution_mm,
        thickness_mm=thickness_mm,
        seed=int(generator.integers(1 << 62)),
    )


def _affine(options: TrainSegmenter, grid: Grid, generator: np.random.Generator) -> np.ndarray:
    """Rotation, scaling, shear about the middle of the grid, and a shift: MNI mm of the image to MNI mm of the label map."""
    turn = Rotation.from_euler("xyz", generator.uniform(-options.rotation_deg, options.rotation_deg, 3), degrees=True).as_matrix()
    shear = np.eye(3) + (1 - np.eye(3)) * generator.uniform(-0.012, 0.012, (3, 3))
    linear = turn @ shear @ np.diag(1 + generator.uniform(-options.scaling, options.scaling, 3))
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = (
        np.array(grid.center_mm) - linear @ grid.center_mm + generator.uniform(-options.translation_mm, options.translation_mm, 3)
    )
    return matrix


def _appearance(anything: bool, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of every generated label: of any contrast, or as in a T1w image with both sides alike."""
    low, high = np.transpose([(0.0, 1.0) if anything else t1_range(label) for label in GENERATED])
    means, stds = generator.uniform(low, high), generator.uniform(0, STD, len(GENERATED))
    place = {label: index for index, label in enumerate(GENERATED)}
    for one, other in (SAME_TISSUE if anything else SAME_TISSUE | {right: left for left, right in SIDES.items() if right > left}).items():
        means[place[one]], stds[place[one]] = means[place[other]], stds[place[other]]
    dark = generator.random()
    if dark < 0.05 or not anything:
        means[0] = stds[0] = 0.0
    elif dark < 0.3:
        means[0], stds[0] = generator.uniform(0, 0.06), generator.uniform(0, 0.02)
    if generator.random() < STRIPPED:
        outside = [place[label] for label in OUTSIDE]
        means[outside], stds[outside] = means[0], stds[0]
    return means, stds


def _resolution_mm(thickest_mm: float, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Distance and thickness of an acquisition's slices along each axis: 1 mm in 5 %, isotropic in 10 %, else thick along one axis."""
    kind, size = generator.random(), np.ones(3)
    if 0.05 < kind < 0.15:
        size[:] = generator.uniform(1, min(ISOTROPIC_MM, thickest_mm))
    elif kind >= 0.15:
        size[generator.integers(3)] = generator.uniform(1, thickest_mm)
    return size, generator.uniform(1, size)


def synthesise(source: LabelMap, drawn: Draw, grid: Grid, labels: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Image [1,I,J,K] in [0, 1], and the fractions [L,I,J,K] of the recognised `labels` in its voxels."""
    fold = 2 if grid.spacing_mm >= COARSE_MM else 1
    index = _flipped(_deformed(source, drawn, grid, fold), drawn.flip)
    return _image(index, drawn, grid.spacing_mm / fold, fold), _fractions(index, labels, fold)


def _deformed(source: LabelMap, drawn: Draw, grid: Grid, fold: int) -> torch.Tensor:
    """Places in GENERATED on the grid, divided by `fold`: the nearest voxel of the deformed label map; background outside."""
    device = source.index.device
    matrix = source.mni_to_voxel @ drawn.matrix
    voxel = _displacement(drawn.velocity, matrix[:3, :3], grid, fold, device)
    axes = [
        ((np.arange(side * fold) + 0.5) / fold - 0.5) * grid.spacing_mm + low
        for side, low in zip(grid.shape, grid.affine[:3, 3], strict=True)
    ]
    for place, (row, side) in enumerate(zip(matrix, source.index.shape, strict=False)):
        i, j, k = (_tensor(step * axis, device) for step, axis in zip(row, axes, strict=False))
        voxel[place].add_(i[:, None, None]).add_(j[:, None]).add_(k + float(row[3])).round_().clamp_(0, side - 1)
    first, second, third = voxel.int()
    _, j_side, k_side = source.index.shape
    return source.index.flatten()[first.mul_(j_side).add_(second).mul_(k_side).add_(third)].long()


def _displacement(velocity: np.ndarray, to_voxel: np.ndarray, grid: Grid, fold: int, device: torch.device) -> torch.Tensor:
    """Displacement [3,i,j,k] in the label map's voxels: the velocity integrated by scaling and squaring, so that nothing folds.

    (Arsigny et al. 2006; on a coarse lattice, from which it is interpolated.)
    """
    extent_mm = np.array(grid.shape) * grid.spacing_mm
    lattice = np.maximum(2, np.ceil(extent_mm / LATTICE_MM)).astype(int).tolist()
    field = F.interpolate(_tensor(velocity, device)[None], size=lattice, mode="trilinear", align_corners=True) / 2**SQUARINGS
    axes = [torch.linspace(-1, 1, side, device=device) for side in lattice]
    identity = torch.stack(torch.meshgrid(*axes, indexing="ij"))[None]
    unit = _tensor(2 / extent_mm, device).view(1, 3, 1, 1, 1)
    for _ in range(SQUARINGS):
        where = (identity + field * unit).permute(0, 2, 3, 4, 1).flip(-1)
        field = field + F.grid_sample(field, where, padding_mode="border", align_corners=True)
    turned = torch.einsum("ab,nbijk->naijk", _tensor(to_voxel, device), field)
    return F.interpolate(turned, size=[side * fold for side in grid.shape], mode="trilinear", align_corners=True)[0]


def _flipped(index: torch.Tensor, flip: bool) -> torch.Tensor:
    """Mirrored left-right with the labels' sides swapped: each stays on its own side."""
    swap = torch.tensor([GENERATED.index(SIDES.get(label, label)) for label in GENERATED], device=index.device)
    return swap[index.flip(0)] if flip else index


def _image(index: torch.Tensor, drawn: Draw, fine_mm: float, fold: int) -> torch.Tensor:
    device = index.device
    seeded = torch.Generator(device).manual_seed(drawn.seed)
    means, stds = _tensor(drawn.means, device), _tensor(drawn.stds, device)
    image = means[index] + stds[index] * torch.randn(index.shape, generator=seeded, device=device)
    gain = F.interpolate(_tensor(drawn.bias, device)[None, None], size=index.shape, mode="trilinear", align_corners=True)[0, 0]
    image = (image * gain.exp()).clamp(0, BRIGHTEST)
    image = ((image - image.min()) / (image.max() - image.min()).clamp(min=1e-3)) ** drawn.gamma
    image = F.avg_pool3d(_acquired(image, drawn.resolution_mm / fine_mm, drawn.thickness_mm / fine_mm)[None], fold)
    low, high = image.min(), _quantile(image, 0.998)
    return ((image - low) / (high - low).clamp(min=1e-3)).clamp(0, 1)


def _acquired(image: torch.Tensor, distance: np.ndarray, thickness: np.ndarray) -> torch.Tensor:
    """In slices of this distance and thickness, in voxels, and interpolated back, along each axis where they are more than one."""
    for axis, (apart, thick) in enumerate(zip(distance.tolist(), thickness.tolist(), strict=True)):
        if apart > 1:
            image = torch.tensordot(image, _slices(image.shape[axis], apart, thick, image.device), dims=([axis], [0])).movedim(-1, axis)
    return image


def _slices(side: int, apart: float, thick: float, device: torch.device) -> torch.Tensor:
    """What slices, their distance and thickness in voxels, do to a line of `side` voxels, as a matrix [side, side]."""
    sigma = 0.75 * thick
    taps = torch.arange(-int(3 * sigma) - 1, int(3 * sigma) + 2, device=device)
    kernel = torch.softmax(-(taps**2) / (2 * sigma**2), 0)
    blurred = F.conv1d(torch.eye(side, device=device)[:, None], kernel[None, None], padding=len(taps) // 2)
    coarse = F.interpolate(blurred, size=max(2, round(side / apart)), mode="linear")
    return F.interpolate(coarse, size=side, mode="linear")[:, 0]


def _fractions(index: torch.Tensor, labels: tuple[int, ...], fold: int) -> torch.Tensor:
    """How much of every voxel each of the `labels` fills, [L,I,J,K]; a label that is none of them counts as background."""
    shape = [side // fold for side in index.shape]
    channel = _channels(labels).to(index.device)[index]
    i, j, k = (torch.arange(side, device=index.device) // fold for side in index.shape)
    place = (channel * shape[0]).add_(i[:, None, None]).mul_(shape[1]).add_(j[:, None]).mul_(shape[2]).add_(k)
    counts = torch.bincount(place.flatten(), minlength=len(labels) * int(np.prod(shape)))
    return counts.reshape(len(labels), *shape).float() / fold**3


@cache
def _channels(labels: tuple[int, ...]) -> torch.Tensor:
    places = {label: place for place, label in enumerate(labels)}
    return torch.tensor([places.get(BECOMES.get(label, label), 0) for label in GENERATED])


def _quantile(image: torch.Tensor, q: float) -> torch.Tensor:
    """Of at most two million values, the most torch.quantile takes in any version; regular strides beyond."""
    values = image.flatten()
    return values[:: max(1, len(values) // 2_000_000 + 1)].quantile(q)


def _tensor(values: np.ndarray, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)
