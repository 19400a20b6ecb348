import base64
import gzip
import hashlib
import io
import re

import matplotlib.image
import nibabel as nib
import numpy as np
import pytest
from planted_report import CONFIG, LADDERS, planted, volumes

from brainldm.core.labels import MIRRORED, NAMES
from brainldm.formats import figures, viewer
from brainldm.formats.evaluation import Evaluation

GRID = CONFIG.grid


@pytest.fixture(scope="module")
def found() -> Evaluation:
    return planted(volumes())


def _image(encoded: str) -> nib.Nifti1Image:
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(encoded)))


def _centre_mm(image: nib.Nifti1Image, weights: np.ndarray) -> np.ndarray:
    """Where the middle of weights on the grid of an image lies."""
    places = np.argwhere(weights) @ image.affine[:3, :3].T + image.affine[:3, 3]
    return np.average(places, axis=0, weights=weights[weights > 0])


def test_what_the_page_carries_is_what_was_evaluated(found: Evaluation) -> None:
    everything = viewer.items(found)
    packed, edge = viewer.encoded(everything, GRID)
    assert edge == 1
    assert [len(item.images) for item in everything] == [1] * 6 + [5] * len(LADDERS)
    for item, (image, labels) in zip(everything, (map(_image, pair) for pair in packed), strict=True):
        np.testing.assert_allclose(image.affine, GRID.affine)
        assert np.abs(np.moveaxis(np.asarray(image.dataobj), -1, 0) / 255 - np.clip(item.images, 0, 1)).max() <= 0.5 / 255 + 1e-9
        np.testing.assert_array_equal(np.moveaxis(np.asarray(labels.dataobj), -1, 0), item.labels)
        assert len(item.captions) == len(item.images)


@pytest.mark.parametrize("edge", [2, 3, 4])
def test_too_much_is_averaged_and_stays_in_its_place(found: Evaluation, edge: int) -> None:
    item = viewer.items(found)[0]
    room = len(viewer._image(item.images, GRID, edge)) + len(viewer._labels(item.labels, GRID, edge))
    packed, used = viewer.encoded([item], GRID, room)
    assert used == edge
    image, labels = map(_image, packed[0])
    assert image.header.get_zooms()[0] == edge * GRID.spacing_mm
    pairs = ((np.asarray(image.dataobj), image, item.images[0]), (np.asarray(labels.dataobj) == 2, labels, item.labels[0] == 2))
    for coarse, header, whole in pairs:
        fine = _centre_mm(nib.Nifti1Image(np.zeros(GRID.shape), GRID.affine), np.clip(whole, 0, 1))
        np.testing.assert_allclose(_centre_mm(header, coarse[..., 0]), fine, atol=edge * GRID.spacing_mm / 2)


def test_the_chapter_says_so_when_it_averages(found: Evaluation, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "averaged" not in viewer.chapter(found, GRID)
    limited = viewer.encoded
    monkeypatch.setattr(viewer, "encoded", lambda everything, grid: limited(everything, grid, 200_000))
    assert re.search(r"8 bits, averaged over (\d) x \1 x \1 voxels", viewer.chapter(found, GRID))


def test_the_vendored_script_is_the_one_whose_checksum_is_recorded() -> None:
    recorded = re.search(r"SHA-256 .*: ([0-9a-f]{64})", (viewer.PAGE / "niivue.txt").read_text())
    script = gzip.decompress((viewer.PAGE / "niivue.umd.js.gz").read_bytes())
    assert recorded
    assert hashlib.sha256(script).hexdigest() == recorded[1]


def test_every_structure_has_a_colour_of_its_own_and_both_sides_the_same() -> None:
    colours = {label: figures.label_colour(label) for label in NAMES}
    assert all(colours[label] == colours[other] for label, other in MIRRORED.items())
    assert len(set(colours.values())) == len(NAMES) - len(MIRRORED) // 2


def test_labels_tint_the_picture_and_background_stays() -> None:
    picture, labels = np.full((4, 4), 0.5), np.zeros((4, 4), np.uint8)
    labels[1, 2] = 4
    shown = matplotlib.image.imread(io.BytesIO(figures.labelled_png(picture, labels)))[..., :3]
    tint = figures.OPACITY * np.array(figures.label_colour(4)) / 255 + (1 - figures.OPACITY) * 0.5
    np.testing.assert_allclose(shown[1, 2], tint, atol=0.01)
    np.testing.assert_allclose(shown[0, 0], 0.5, atol=0.01)
