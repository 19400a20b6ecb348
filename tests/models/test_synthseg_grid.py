import nibabel as nib
import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from brainldm.models.synthseg_grid import orientation, pad, rescale, to_1mm


@pytest.mark.parametrize("voxel_mm", [(2, 2, 2), (1, 1, 3.3), (0.7, 1.2, 0.5), (1.06, 1, 1)])
def test_resampling_is_synthsegs(voxel_mm):
    rng = np.random.default_rng(0)
    volume = rng.random((9, 14, 6)).astype(np.float32)
    affine = np.eye(4)
    affine[:3, :3] = np.linalg.qr(rng.standard_normal((3, 3)))[0] * voxel_mm
    affine[:3, 3] = (5, -7, 11)
    fine, fine_affine = to_1mm(volume, affine)
    factor = np.array(voxel_mm)
    assert fine.shape == tuple(np.ceil(np.array(volume.shape) * factor - 1e-9).astype(int))
    assert np.allclose(np.linalg.norm(fine_affine[:3, :3], axis=0), 1)
    corner = np.array([-0.5, -0.5, -0.5, 1])  # of the field of view
    assert np.allclose(fine_affine @ corner, affine @ corner)
    if (factor > 1).all():  # no blur: plain linear interpolation, clamped
        axes = [np.clip(-(f - 1) / (2 * f) + np.arange(n) / f, 0, s - 1) for f, n, s in zip(factor, fine.shape, volume.shape, strict=True)]
        truth = RegularGridInterpolator([np.arange(side) for side in volume.shape], volume)(tuple(np.meshgrid(*axes, indexing="ij")))
        assert np.allclose(fine, truth, atol=1e-6)


def test_voxels_near_1_mm_are_left_alone():
    volume, affine = np.random.default_rng(0).random((4, 5, 6)).astype(np.float32), np.diag([0.96, 1.04, -1, 1])
    same, same_affine = to_1mm(volume, affine)
    assert np.array_equal(same, volume)
    assert np.array_equal(same_affine, affine)


def test_orientation_there_and_back():
    volume = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    for codes in ("RAS", "LAS", "LPI", "ASR", "SPL", "IAR", "PRS"):
        image = nib.Nifti1Image(volume, np.eye(4)).as_reoriented(nib.orientations.axcodes2ornt(tuple(codes)))
        array, turned = np.asarray(image.dataobj), orientation(image.affine)
        assert np.array_equal(turned.to_ras(array), volume)
        assert np.array_equal(turned.from_ras(volume), array)


def test_padding_is_even_and_rescaling_robust():
    padded, inside = pad(np.ones((33, 20, 64), np.float32), 32, 40)
    assert padded.shape == (64, 64, 64)
    assert [part.start for part in inside] == [15, 22, 0]
    assert padded[inside].min() == 1
    assert padded.sum() == 33 * 20 * 64
    values = rescale(np.r_[np.linspace(10, 20, 1001), 1e9].astype(np.float32))
    assert (values.min(), values.max()) == (0, 1)
    assert abs(values[500] - 0.5) < 0.01
    assert not rescale(np.full(5, 7.0)).any()
