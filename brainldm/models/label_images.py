"""Training images synthesised from label maps: domain randomisation after SynthSeg (Billot et al. 2023), with partial volume.

Label maps are rasterised once into tissue fractions on the working grid under random affine and elastic deformations; intensities,
texture, bias field, blur, noise and gamma are drawn anew for every image.
"""

import numpy as np
import torch
import torch.nn.functional as F

from brainldm.core.grid import Grid
from brainldm.core.labels import VALUES

SUPERSAMPLING = 2  # samples per voxel edge when labels become fractions
# Intensities of a T1w-like image, from low to high; images of any contrast draw from 0 to 1 instead.
T1_RANGES = {0: (0.0, 0.02), 2: (0.7, 1.0), 3: (0.4, 0.75), 4: (0.08, 0.3), 24: (0.08, 0.4)}
PAIRS = {41: 2, 42: 3, 43: 4}  # right: left; the two sides of a tissue look alike


def rasterise(labels: np.ndarray, affine: np.ndarray, grid: Grid, generator: np.random.Generator) -> torch.Tensor:
    """Label map [X,Y,Z] with its affine -> fractions [L,I,J,K] on the grid, float16, under a random deformation.

    Rotation up to 5 degrees, scaling 1 +- 0.1, translation up to 5 mm, smooth displacement of standard deviation up to 2 mm.
    """
    fine = tuple(side * SUPERSAMPLING for side in grid.shape)
    points = _fine_points(grid, fine) @ _random_affine(generator).T + generator.uniform(-5, 5, 3)
    points = points + _displacement(fine, generator)
    index = (points - affine[:3, 3]) @ np.linalg.inv(affine[:3, :3]).T
    unit = 2 * index / (np.array(labels.shape) - 1) - 1
    onehot = torch.from_numpy(np.stack([labels == value for value in VALUES]).astype(np.float32))[None]
    where = torch.from_numpy(unit[..., ::-1].astype(np.float32).copy())[None]
    sampled = F.grid_sample(onehot, where, mode="bilinear", padding_mode="zeros", align_corners=True)
    fractions = F.avg_pool3d(sampled, SUPERSAMPLING)[0]
    fractions[0] += 1 - fractions.sum(0)  # outside the label map lies background
    return fractions.half()


def _fine_points(grid: Grid, fine: tuple[int, ...]) -> np.ndarray:
    axes = [(np.arange(side) + 0.5) / SUPERSAMPLING - 0.5 for side in fine]
    index = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    return index * grid.spacing_mm + grid.affine[:3, 3]


def _random_affine(generator: np.random.Generator) -> np.ndarray:
    x, y, z = np.deg2rad(generator.uniform(-5, 5, 3))
    rx = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
    ry = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    rz = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
    return rx @ ry @ rz @ np.diag(generator.uniform(0.9, 1.1, 3))


def _displacement(fine: tuple[int, ...], generator: np.random.Generator) -> np.ndarray:
    coarse = generator.standard_normal((1, 3, 5, 5, 5)) * generator.uniform(0, 2)
    field = F.interpolate(torch.from_numpy(coarse), size=fine, mode="trilinear", align_corners=True)
    return field[0].permute(1, 2, 3, 0).numpy()


def draw_means(n: int, any_contrast: float, generator: np.random.Generator) -> np.ndarray:
    """Mean intensity of every label, [n, L]: T1w-like but for a share `any_contrast` of the images, where it is anything."""
    low, high = (np.array([T1_RANGES[PAIRS.get(value, value)][side] for value in VALUES]) for side in (0, 1))
    anything = generator.random(n)[:, None] < any_contrast
    low, high = np.where(anything, 0.0, low), np.where(anything, 1.0, high)
    means = generator.uniform(low, high)
    for right, left in PAIRS.items():
        means[:, VALUES.index(right)] = means[:, VALUES.index(left)]
    means[generator.random(n) < 0.9, 0] = 0.0
    return means


def synthesise(fractions: torch.Tensor, any_contrast: float, generator: np.random.Generator) -> torch.Tensor:
    """Fractions [N,L,I,J,K] -> images [N,1,I,J,K] in [0, 1]."""
    n, device = len(fractions), fractions.device
    seeded = torch.Generator(device).manual_seed(int(generator.integers(1 << 62)))
    means = torch.from_numpy(draw_means(n, any_contrast, generator).astype(np.float32)).to(device)
    images = torch.einsum("nl,nlijk->nijk", means, fractions)[:, None]
    foreground = 1 - fractions[:, :1]
    images = images + foreground * _smooth_noise(images.shape, 12, seeded) * _uniform(n, 0, 0.06, generator, device)
    images = images * torch.exp(_smooth_noise(images.shape, 4, seeded) * _uniform(n, 0, 0.15, generator, device))
    images = _blur(images, _uniform(n, 0, 0.55, generator, device))
    images = images + torch.randn(images.shape, generator=seeded, device=device) * _uniform(n, 0, 0.03, generator, device)
    images = images.clamp(min=0)
    images = images / images.flatten(1).quantile(0.998, 1)[:, None, None, None, None].clamp(min=1e-3)
    return images.clamp(0, 1) ** torch.exp(_uniform(n, -0.3, 0.3, generator, device))


def _uniform(n: int, low: float, high: float, generator: np.random.Generator, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(generator.uniform(low, high, (n, 1, 1, 1, 1)).astype(np.float32)).to(device)


def _smooth_noise(shape: torch.Size, points: int, seeded: torch.Generator) -> torch.Tensor:
    coarse = torch.randn((shape[0], 1, points, points, points), generator=seeded, device=seeded.device)
    return F.interpolate(coarse, size=shape[2:], mode="trilinear", align_corners=True)


def _blur(images: torch.Tensor, sigma: torch.Tensor) -> torch.Tensor:
    """Three-tap Gaussian of standard deviation sigma [N,1,1,1,1] voxels, along each axis."""
    side = torch.exp(-0.5 / sigma.clamp(min=1e-3) ** 2)
    for axis in (2, 3, 4):
        neighbours = torch.roll(images, 1, axis) + torch.roll(images, -1, axis)
        images = (images + side * neighbours) / (1 + 2 * side)
    return images
