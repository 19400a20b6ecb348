"""`brainldm view`: a planted mark stands where it should, whatever the voxels; labels are coloured; a row is the volume generated."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.image import imread

from brainldm.commands.view import main
from brainldm.core.errors import BrainLDMError
from brainldm.formats.three_planes import escapes

SHAPE, SPACING = (60, 80, 30), (2.0, 1.5, 4.0)


def save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    nib.save(nib.Nifti1Image(array.astype(np.float32), affine), path)
    return path


@pytest.fixture
def affine() -> np.ndarray:
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = -np.array(SPACING) * (np.array(SHAPE) - 1) / 2
    return affine


@pytest.fixture
def volume() -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 0.2, SHAPE)


def drawn(folder: Path, *words: object, **options: object) -> np.ndarray:
    main(*map(str, words), out=folder / "a.png", overwrite=True, **options)
    return imread(folder / "a.png")[..., :3]


def test_a_mark_on_the_right_front_top_stands_there_in_every_plane(tmp_path, volume, affine):
    volume[40:52, 56:68, 20:26] = 5  # 0.6 % of the voxels: more than what counts as outliers
    mark = (affine @ [43.5, 63.5, 23.5, 1])[:3]
    found = drawn(tmp_path, save(tmp_path / "scan.nii.gz", volume, affine), at=",".join(map(str, mark)))
    assert found.shape == (120, 3 * 120, 3)
    boxes = [np.argwhere(found[:, left : left + 120, 0] > 0.9) for left in (0, 120, 240)]
    assert [(*box.min(0), *(box.max(0) + 1)) for box in boxes] == [(18, 80, 36, 104), (16, 80, 40, 104), (16, 84, 40, 102)]


def test_pixels_are_square_and_left_is_left(tmp_path, volume, affine):
    volume[:10] += 5  # the subject's left
    shown = drawn(tmp_path, save(tmp_path / "scan.nii.gz", volume, affine))
    widths = [round(n * mm) for n, mm in zip(SHAPE, SPACING, strict=True)]
    assert shown.shape == (max(widths[1], widths[2]), widths[0] + widths[0] + widths[1], 3)
    middle = shown[60]
    assert middle[:18].mean() > 0.8
    assert middle[25:118].mean() < 0.2
    flipped = save(tmp_path / "flipped.nii.gz", volume[::-1], affine @ np.array([[-1, 0, 0, SHAPE[0] - 1], *np.eye(4)[1:]]))
    assert np.allclose(drawn(tmp_path, flipped), shown, atol=0.01)


def test_labels_are_coloured_and_must_lie_on_the_same_voxels(tmp_path, volume, affine):
    labels = np.zeros(SHAPE)
    labels[25:35, 35:45, 10:20] = 4
    scan, seg = save(tmp_path / "scan.nii.gz", volume, affine), save(tmp_path / "seg.nii.gz", labels, affine)
    shown = drawn(tmp_path, scan, overlay=seg)
    coloured = np.ptp(shown, axis=-1) > 0.1
    assert coloured[60, 60]
    assert not coloured[5, 5]
    assert not (np.ptp(drawn(tmp_path, scan), axis=-1) > 0.01).any()
    other = save(tmp_path / "other.nii.gz", labels[:50], affine)
    with pytest.raises(BrainLDMError, match="--overlay: expected labels on the volume's own voxels"):
        drawn(tmp_path, scan, overlay=other)


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        ("lost.nii.gz", {}, "lost.nii.gz: expected a scan, found no file"),
        ("7", {}, "expected a shard with row 7, found 0 shards without it"),
        ("scan", {"at": "1,2"}, "--at: expected X,Y,Z in mm such as 9,-19,17, found '1,2'"),
        ("scan", {"at": "1,2,900"}, "--at: expected a point inside the volume, from"),
    ],
)
def test_what_cannot_be_drawn_is_one_error_and_no_picture(tmp_path, volume, affine, words, options, message):
    scan = save(tmp_path / "scan.nii.gz", volume, affine)
    with pytest.raises(BrainLDMError, match=message):
        drawn(tmp_path, scan if words == "scan" else words, **options)
    assert not (tmp_path / "a.png").exists()


def test_a_terminal_gets_the_picture_in_its_own_protocol_and_others_nothing():
    content = bytes(range(256)) * 40
    assert list(escapes(content, {"TERM": "xterm-256color"})) == []
    kitty = "".join(escapes(content, {"TERM": "xterm-kitty"}))
    assert kitty.startswith("\033_Ga=T,f=100,m=1;")
    assert "m=0;" in kitty
    assert "".join(escapes(content, {"TERM_PROGRAM": "iTerm.app"})).startswith("\033]1337;File=inline=1")
