from pathlib import Path

import keras_files
import nibabel as nib
import numpy as np
import pytest
import torch

from brainldm.core.errors import DataError, ScanError
from brainldm.core.labels import NAMES
from brainldm.models import synthseg
from brainldm.models.synthseg_labels import CLASSES, VERSIONS, mirror
from brainldm.models.synthseg_network import blur

REFERENCE = Path(__file__).parents[2].parent / "shared/data/synthseg/reference"
ORIENTATIONS = ("RAS", "LAS", "LPI", "ASR", "SPL", "IAR", "PRS")
SHAPE = (26, 34, 22)
CENTRES = {0: 0.0, 15: 0.3, 14: 0.6, 16: 1.0}  # intensities of the labels that the planted network knows


@pytest.fixture(scope="module")
def random_network(tmp_path_factory):
    return synthseg.load(keras_files.write(tmp_path_factory.mktemp("random") / "random.h5", keras_files.random_layers((2, 3, 4))))


@pytest.fixture(scope="module")
def planted_network(tmp_path_factory):
    """A network that reads the label off the intensity: the channel whose centre is nearest (labels without one are out of reach)."""
    layers = keras_files.random_layers((1,), convolutions=1, kernel=1)
    centres = np.array([CENTRES.get(value, -5) for value in VERSIONS["2.0"]], np.float32)
    layers["unet_conv_downarm_0_0"] = {"kernel": np.ones((1, 1, 1, 1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    identity = {"gamma": 1, "beta": 0, "moving_mean": 0, "moving_variance": 1 - 1e-3}
    layers["unet_bn_down_0"] = {name: np.full(1, value, np.float32) for name, value in identity.items()}
    layers["unet_likelihood"] = {"kernel": 400 * centres.reshape(1, 1, 1, 1, 33), "bias": -200 * centres**2}
    return synthseg.load(keras_files.write(tmp_path_factory.mktemp("planted") / "planted.h5", layers))


def phantom() -> np.ndarray:
    """A brain of brain-stem with a third and a fourth ventricle in it, asymmetric: midline labels, which mirroring does not exchange."""
    image = np.full(SHAPE, CENTRES[0], np.float32)
    image[3:20, 4:30, 3:18] = CENTRES[16]
    image[5:9, 8:14, 6:12] = CENTRES[14]
    image[13:18, 20:24, 5:9] = CENTRES[15]
    return image


def in_ras(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    return np.asarray(image.dataobj), image.affine


def stored(array: np.ndarray, affine: np.ndarray, codes: str) -> tuple[np.ndarray, np.ndarray]:
    """The same image in world space, stored along other axes."""
    image = nib.Nifti1Image(array, affine)
    change = nib.orientations.ornt_transform(nib.io_orientation(affine), nib.orientations.axcodes2ornt(tuple(codes)))
    image = image.as_reoriented(change)
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_agrees_with_the_original_code(version):
    if not REFERENCE.exists():
        pytest.skip(f"no reference outputs in {REFERENCE}")
    network = synthseg.load(REFERENCE / f"random_synthseg_{version}.h5")
    truth = np.load(REFERENCE / f"reference_{version}.npz")
    assert network.version == version
    assert network.labels == tuple(truth["labels"])
    assert network.mirror == tuple(truth["flip_indices"])
    for kind, options in {"unet": {"flip": False, "sigma": 0}, "final": {}}.items():
        posteriors = network.posteriors(truth["image"], **options).numpy()
        at_voxels = posteriors.reshape(len(posteriors), -1)[:, truth["voxels"]].T
        assert np.abs(at_voxels - truth[f"{kind}_posteriors"]).max() <= 1e-4
        assert (posteriors.argmax(0) == truth[f"{kind}_argmax"]).mean() >= 0.9999


@pytest.mark.parametrize(
    ("widths", "labels", "convolutions", "kernel", "layout"),
    [
        ((3, 4, 7), 33, 2, 3, "root"),
        ((2, 5), 32, 3, 3, "model_weights"),
        ((4, 2, 3, 5), 33, 1, 5, "nested"),
        ((3,), 32, 2, 1, "root"),
    ],
)
def test_any_file_of_the_format_gives_its_network(tmp_path, widths, labels, convolutions, kernel, layout):
    layers = keras_files.random_layers(widths, labels, convolutions, kernel)
    network = synthseg.load(keras_files.write(tmp_path / "weights.h5", layers, layout))
    assert network.labels == VERSIONS[network.version]
    assert len(network.labels) == labels
    image = torch.rand(16, 24, 8, generator=torch.Generator().manual_seed(1))
    by_the_book = keras_files.forward(layers, image).softmax(0)
    assert torch.allclose(network.posteriors(image, flip=False, sigma=0), by_the_book, atol=2e-6)


def test_labels_pair_and_belong_to_one_class():
    assert sorted(value for members in CLASSES for value in members) == sorted(set(NAMES) - {0, 24})
    for labels in VERSIONS.values():
        partners = mirror(labels)
        assert [partners[partner] for partner in partners] == list(range(len(labels)))
        assert all(
            NAMES[labels[partner]].split(" ", 1)[1:] == NAMES[value].split(" ", 1)[1:]
            for value, partner in zip(labels, partners, strict=True)
        )
    assert NAMES[17] == "left hippocampus"
    assert NAMES[53] == "right hippocampus"


def test_a_mirrored_image_gives_mirrored_posteriors(random_network):
    image = torch.rand(16, 20, 12, generator=torch.Generator().manual_seed(2))
    posteriors = random_network.posteriors(image)
    mirrored = random_network.posteriors(image.flip(0))
    assert torch.allclose(mirrored, posteriors[list(random_network.mirror)].flip(1), atol=1e-6)
    assert not torch.allclose(mirrored, posteriors.flip(1), atol=1e-3)
    alone = random_network.posteriors(image, flip=False)
    other = random_network.posteriors(image.flip(0), flip=False)[list(random_network.mirror)].flip(1)
    assert torch.allclose((alone + other) / 2, posteriors, atol=1e-6)


def test_a_batch_gives_what_its_images_give(random_network):
    images = np.random.default_rng(0).random((3, 8, 12, 16), np.float32)
    batch = random_network.posteriors(images)
    assert batch.shape == (3, 33, 8, 12, 16)
    for image, posteriors in zip(images, batch, strict=True):
        assert torch.allclose(random_network.posteriors(image), posteriors, atol=1e-6)
    assert torch.allclose(batch.sum(1)[:, 1:-1, 1:-1, 1:-1], torch.ones(()), atol=1e-5)


def test_bf16_gives_nearly_the_same_in_float32(random_network):
    image = torch.rand(16, 16, 16, generator=torch.Generator().manual_seed(3))
    with torch.autocast("cpu", torch.bfloat16):
        posteriors = random_network.posteriors(image)
    assert posteriors.dtype == torch.float32
    assert (posteriors - random_network.posteriors(image)).abs().max() < 0.05


def test_sides_that_do_not_halve_are_refused(random_network):
    with pytest.raises(DataError, match=r"multiples of 4, found \(16, 18, 16\)"):
        random_network.posteriors(np.zeros((16, 18, 16), np.float32))


def test_blur_is_a_gaussian_with_zeros_outside():
    volume = torch.zeros(7, 7, 7)
    volume[3, 3, 3] = 1
    offsets = np.arange(-3, 4)
    taps = np.exp(-(offsets**2) / 0.5) * (abs(offsets) <= 1)
    taps /= taps.sum()
    assert torch.allclose(blur(volume, 0.5).double(), torch.from_numpy(np.einsum("i,j,k->ijk", taps, taps, taps)), atol=1e-7)
    assert blur(torch.ones(4, 4, 4), 0.5)[0, 0, 0] == pytest.approx((taps[3:].sum()) ** 3, rel=1e-6)


@pytest.mark.parametrize("size_mm", [1.0, 2.0])
def test_orientation_changes_nothing_in_the_world(random_network, size_mm):
    affine = np.diag([size_mm, size_mm, size_mm, 1.0])
    affine[:3, 3] = (-10, 4, 3)
    image = np.random.default_rng(0).random((10, 13, 8)).astype(np.float32)
    first = synthseg.segment(image, affine, random_network, min_side=32)
    assert first.labels.shape == tuple(int(side * size_mm) for side in image.shape)
    for codes in ORIENTATIONS[1:]:
        other = synthseg.segment(*stored(image, affine, codes), random_network, min_side=32)
        assert nib.aff2axcodes(other.affine) == tuple(codes)
        labels, labels_affine = in_ras(other.labels, other.affine)
        assert np.array_equal(labels, first.labels)
        assert np.allclose(labels_affine, first.affine)
        assert other.volumes_mm3 == first.volumes_mm3


def test_labels_and_volumes_are_the_planted_ones(planted_network):
    image = phantom()
    labels, affine, volumes = synthseg.segment(300 * image + 40, np.eye(4), planted_network, min_side=32)
    assert labels.dtype == np.int32
    assert np.array_equal(affine, np.eye(4))
    for value, centre in CENTRES.items():
        assert ((labels == value) == (image == np.float32(centre))).mean() > 0.999  # the blur only shaves corners
    names = list(volumes)
    assert names[:2] == ["total intracranial", "left cerebral white matter"]
    assert len(names) == 33
    assert volumes["total intracranial"] == pytest.approx(sum(volumes[name] for name in names[1:]), abs=0.02)
    assert volumes["3rd ventricle"] == pytest.approx(4 * 6 * 6, rel=0.05)
    assert volumes["4th ventricle"] == pytest.approx(5 * 4 * 4, rel=0.05)
    assert volumes["left caudate"] < 1


def test_version_1_has_no_total(tmp_path):
    network = synthseg.load(keras_files.write(tmp_path / "weights.h5", keras_files.random_layers(labels=32)))
    volumes = synthseg.segment(phantom(), np.eye(4), network, min_side=32).volumes_mm3
    assert list(volumes) == [NAMES[value] for value in VERSIONS["1.0"][1:]]
    assert "csf" not in volumes


def test_islands_are_removed(planted_network):
    image = phantom()
    image[12:15, 6:9, 12:15] = CENTRES[14]  # a second, smaller third ventricle within the brain
    image[23:25, 31:33, 19:21] = CENTRES[16]  # a speck outside it
    labels = synthseg.segment(image, np.eye(4), planted_network, min_side=32).labels
    fast = synthseg.segment(image, np.eye(4), planted_network, fast=True, min_side=32).labels
    assert (labels[6:8, 9:13, 7:11] == 14).all()
    assert not (labels[12:15, 6:9, 12:15] == 14).any()
    assert (fast[13, 7, 13], fast[7, 10, 8]) == (14, 14)
    assert not labels[22:, 30:, 18:].any()
    assert not fast[22:, 30:, 18:].any()


def test_images_that_cannot_be_segmented(planted_network):
    image = phantom()
    assert synthseg.segment(image[..., None], np.eye(4), planted_network, min_side=32).labels.shape == SHAPE
    for wrong, affine, reason in (
        (np.zeros((4, 4, 4, 30)), np.eye(4), r"3-D image, found shape \(4, 4, 4, 30\)"),
        (np.zeros((4, 4)), np.eye(4), "3-D image"),
        (image, np.diag([1, 1, 0, 1]), "invertible affine"),
        (np.where(image > 0, np.nan, image), np.eye(4), "finite intensities"),
    ):
        with pytest.raises(ScanError, match=rf"scan\.nii: expected .*{reason}"):
            synthseg.segment(wrong, affine, planted_network, name="scan.nii")
