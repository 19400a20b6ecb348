import itertools

import numpy as np
import pytest
import torch

from brainldm.core.errors import DataError
from brainldm.metrics.g4r import g4r_ssim, scale_weights

SHAPE = (24, 20, 19)


def _volumes(seed: int, n: int = 1, shape: tuple[int, int, int] = SHAPE) -> torch.Tensor:
    """Smooth blobs with some noise, on a background of exactly 0 in half of the volume."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((n, 1, 4, 4, 4), generator=generator)
    x = torch.nn.functional.interpolate(coarse, shape, mode="trilinear")
    x = (x + 0.03 * torch.randn(x.shape, generator=generator)).clamp(0, 1)
    x[..., : shape[0] // 2, :, :] = 0
    return x


# The definition, written down a second time: float64, one voxel after another, nothing shared with the module.


def _naive_gradient(v: np.ndarray) -> np.ndarray:
    side = np.full((3, 3), 0.05)
    side[1, 1] = 0.1
    kernels = [np.moveaxis(np.stack([-side, 0 * side, side]), 0, axis) for axis in range(3)]
    out = np.zeros([size - 2 for size in v.shape])
    for at in np.ndindex(*out.shape):
        patch = v[tuple(slice(a, a + 3) for a in at)]
        out[at] = sum(abs((patch * kernel).sum()) for kernel in kernels)
    return out


def _naive_map(x: np.ndarray, y: np.ndarray, star: bool) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Luminance, contrast x structure, and the four masks."""
    bell = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    window = np.einsum("i,j,k->ijk", bell, bell, bell)
    window /= window.sum()
    c1, c2, c3 = 0.01**2, 0.03**2, 0.03**2 / 2
    gx, gy = _naive_gradient(x), _naive_gradient(y)
    th1, th2 = 0.12 * gx.max(), 0.06 * gx.max()
    shape = [size - 6 for size in gx.shape]
    luminance, rest = np.zeros(shape), np.zeros(shape)
    masks = [np.zeros(shape, dtype=bool) for _ in range(4)]
    for at in np.ndindex(*shape):
        seven = tuple(slice(a, a + 7) for a in at)
        inner = tuple(slice(a + 1, a + 8) for a in at)
        mx, my = (window * x[inner]).sum(), (window * y[inner]).sum()
        luminance[at] = (2 * mx * my + c1) / (mx**2 + my**2 + c1)
        px, py = gx[seven], gy[seven]
        mx, my = (window * px).sum(), (window * py).sum()
        ex, ey = (window * px * px).sum(), (window * py * py).sum()
        vx, vy = ex - mx**2, ey - my**2
        sx, sy = np.sqrt(vx + 1e-5 * (ex + mx**2) / 2), np.sqrt(vy + 1e-5 * (ey + my**2) / 2)
        structure = ((window * px * py).sum() - mx * my + c3) / (sx * sy + c3)
        if star and (sx == 0) != (sy == 0):
            structure = 0.0
        rest[at] = (2 * sx * sy + c2) / (vx + vy + c2) * structure
        a, b = gx[tuple(i + 3 for i in at)], gy[tuple(i + 3 for i in at)]
        if a > th1 and b > th1:
            region = 0
        elif a > th1 or b > th1:
            region = 1
        elif a < th2 and b <= th1:
            region = 2
        else:
            region = 3
        masks[region][at] = True
    return luminance, rest, masks


def _naive(x: np.ndarray, y: np.ndarray, n_scales: int, star: bool) -> float:
    weights = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])[:n_scales]
    score = 1.0
    for level, weight in enumerate(weights / weights.sum()):
        luminance, rest, masks = _naive_map(x, y, star)
        quality = luminance * rest if level == n_scales - 1 else rest
        score *= max(np.mean([quality[mask].mean() for mask in masks if mask.any()]), 0) ** weight
        x, y = (sum(v[i::2, j::2, k::2] for i, j, k in itertools.product((0, 1), repeat=3)) / 8 for v in (_even(x), _even(y)))
    return float(score)


def _even(v: np.ndarray) -> np.ndarray:
    return v[tuple(slice(0, size // 2 * 2) for size in v.shape)]


def _pair_with_all_regions() -> tuple[torch.Tensor, torch.Tensor]:
    """Strong and weak contrast on either side, alike and not; and noise in y where x is exactly 0."""
    x, y = _volumes(1), _volumes(2)
    x[..., :7] *= 0.2
    y[..., 9:] *= 0.2
    y[..., :12, :10, :] = 0.01 * torch.rand(y[..., :12, :10, :].shape, generator=torch.Generator().manual_seed(3))
    return x, y


@pytest.mark.parametrize(("multi_scale", "star"), [(True, True), (True, False), (False, True), (False, False)])
def test_it_agrees_with_the_naive_reference(multi_scale: bool, star: bool) -> None:
    x, y = _pair_with_all_regions()
    expected = _naive(x[0, 0].double().numpy(), y[0, 0].double().numpy(), 2 if multi_scale else 1, star)
    assert g4r_ssim(x, y, multi_scale=multi_scale, star=star).item() == pytest.approx(expected, abs=5e-7)
    assert 0.05 < expected < 0.95


def test_all_four_regions_occur_in_that_comparison() -> None:
    x, y = _pair_with_all_regions()
    assert all(mask.sum() > 20 for mask in _naive_map(x[0, 0].numpy(), y[0, 0].numpy(), star=True)[2])


@pytest.mark.parametrize("star", [True, False])
def test_identity_is_1_also_for_empty_volumes(star: bool) -> None:
    x = torch.cat([_volumes(4), torch.zeros(1, 1, *SHAPE), torch.full((1, 1, *SHAPE), 0.5)])
    torch.testing.assert_close(g4r_ssim(x, x, star=star), torch.ones(3), atol=1e-5, rtol=0)


def test_the_first_image_sets_the_regions() -> None:
    x = _volumes(5)
    y = 0.3 * _volumes(6)
    assert abs(g4r_ssim(x, y) - g4r_ssim(y, x)).item() > 1e-3


def test_with_one_region_it_is_symmetric() -> None:
    """Ramps have one gradient everywhere, so only preserved edges, whichever image comes first."""
    ramp = torch.linspace(0, 1, 20).reshape(1, 1, 20, 1, 1).expand(1, 1, 20, 20, 20)
    torch.testing.assert_close(g4r_ssim(ramp, 0.5 * ramp), g4r_ssim(0.5 * ramp, ramp))


def test_star_counts_structure_against_an_exactly_flat_background_as_lost() -> None:
    flat, faint = torch.zeros(1, 1, *SHAPE), 0.01 * _volumes(7) + 0.001 * torch.rand(SHAPE, generator=torch.Generator().manual_seed(8))
    assert g4r_ssim(flat, faint, star=True).item() == 0
    assert g4r_ssim(flat, faint, star=False).item() > 0.5


def test_a_score_does_not_depend_on_its_neighbours() -> None:
    x = torch.cat([_volumes(9, 3), torch.zeros(1, 1, *SHAPE)])
    y = torch.cat([_volumes(10, 3), _volumes(11)])
    alone = torch.cat([g4r_ssim(a[None], b[None]) for a, b in zip(x, y, strict=True)])
    torch.testing.assert_close(g4r_ssim(x, y), alone)


def test_scales_need_room_for_the_gradient() -> None:
    assert len(scale_weights((160, 224, 160))) == 5
    assert len(scale_weights((32, 40, 32))) == 2
    assert scale_weights((17, 17, 17)) == (1.0,)
    with pytest.raises(DataError, match="smaller"):
        scale_weights((8, 20, 20))


def test_multi_scale_is_single_scale_where_only_one_fits() -> None:
    x, y = _volumes(12, shape=(12, 12, 12)), _volumes(13, shape=(12, 12, 12))
    torch.testing.assert_close(g4r_ssim(x, y), g4r_ssim(x, y, multi_scale=False))
