import io
import xml.etree.ElementTree as ElementTree

import matplotlib.image
import numpy as np
import pytest

from brainldm.core.grid import Grid
from brainldm.formats import figures

GRID = Grid(shape=(32, 40, 32), spacing_mm=5.0, center_mm=(0, -17, 6))


def _marked(point_mm: tuple[float, float, float], spread: int = 40) -> np.ndarray:
    """A volume that is 1 on the three planes through a point, and 2 at the point itself."""
    i, j, k = np.rint((np.array(point_mm) - GRID.affine[:3, 3]) / GRID.spacing_mm).astype(int)
    volume = np.zeros(GRID.shape)
    volume[i, j, k] = 2
    return volume


def test_the_planes_pass_through_their_mni_coordinates() -> None:
    for picture in figures.planes(_marked(figures.PLANES_MM), GRID):
        assert picture.max() == 2


def test_left_is_left_front_and_top_are_up() -> None:
    x, y, z = figures.PLANES_MM
    axial, coronal, _ = figures.planes(_marked((-50, y, z)), GRID)
    for picture in (axial, coronal):
        assert np.argwhere(picture == 2)[0][1] < picture.shape[1] / 2
    axial, _, sagittal = figures.planes(_marked((x, 40, z)), GRID)
    assert np.argwhere(axial == 2)[0][0] < axial.shape[0] / 2
    assert np.argwhere(sagittal == 2)[0][1] > sagittal.shape[1] / 2
    _, coronal, sagittal = figures.planes(_marked((x, y, 60)), GRID)
    for picture in (coronal, sagittal):
        assert np.argwhere(picture == 2)[0][0] < picture.shape[0] / 2


def test_a_strip_holds_the_three_planes_whole() -> None:
    volume = np.random.default_rng(1).random(GRID.shape)
    strip = figures.strip(volume, GRID)
    assert strip.shape == (40, 32 + 32 + 40)
    assert strip.sum() == pytest.approx(sum(picture.sum() for picture in figures.planes(volume, GRID)))


def test_a_grey_picture_comes_back_from_its_png() -> None:
    picture = np.random.default_rng(2).random((9, 7))
    decoded = matplotlib.image.imread(io.BytesIO(figures.grey_png(picture)))
    np.testing.assert_allclose(decoded[..., 0], picture, atol=2 / 255)


def test_no_difference_is_white_and_signs_have_their_own_colour() -> None:
    limit = figures.DIFFERENCE_LIMIT
    less, none, more = matplotlib.image.imread(io.BytesIO(figures.difference_png(np.array([[-limit, 0.0, limit]]))))[0, :, :3]
    assert none.min() > 0.95
    assert less[2] > less[0]
    assert more[0] > more[2]


def _svgs() -> list[str]:
    x = np.linspace(40, 80, 12)
    log = {"step": x, "seconds": x, "l1": 1 / x, "adversarial": np.where(x < 60, np.nan, x), "kl": x - 60}
    return [
        figures.scatter_svg(x, x + 1, ("requested age (years)", "predicted age (years)"), "r = 1", (x, x - 1)),
        figures.ladder_svg(x[:3], x[:3] + 1, ("requested age (years)", "predicted age (years) of one brain")),
        figures.intervals_svg([("real", 0.7, (0.6, 0.8)), ("synthetic", 0.8, (0.7, 0.9))], "MS-SSIM"),
        figures.losses_svg(log, "train_age"),
    ]


def test_curves_are_well_formed_and_take_their_ink_from_the_page() -> None:
    for svg in _svgs():
        root = ElementTree.fromstring(svg)
        assert root.attrib["viewBox"]
        assert "currentColor" in svg
        assert figures.INK not in svg
    assert "predicted age (years)" in _svgs()[0]


def test_equal_data_make_equal_bytes_and_no_two_figures_share_an_id() -> None:
    first, second = _svgs(), _svgs()
    assert first == second
    ids = [{element.attrib["id"] for element in ElementTree.fromstring(svg).iter() if "id" in element.attrib} for svg in first]
    assert len(set.union(*ids)) == sum(map(len, ids))


def test_smoothing_leaves_a_constant_and_calms_noise() -> None:
    np.testing.assert_allclose(figures.smoothed(np.full(50, 3.0)), 3)
    noise = np.random.default_rng(3).standard_normal(400)
    assert figures.smoothed(noise).std() < 0.5 * noise.std()


def test_a_sheet_holds_a_strip_per_volume_at_about_a_millimetre() -> None:
    marked, empty = _marked(figures.PLANES_MM), np.zeros(GRID.shape)
    page = figures.sheet([empty, marked], GRID)
    height, width = figures.strip(marked, GRID).shape
    assert page.shape == (2 * 5 * height, 5 * width)
    assert not page[: 5 * height].any()
    assert np.array_equal(page[5 * height :: 5, ::5], figures.strip(marked, GRID))
