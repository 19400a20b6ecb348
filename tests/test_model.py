"""`brainldm.load`: what it samples is what the command line samples, and importing the package costs nothing."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import brainldm
from brainldm.commands import sample
from brainldm.core.errors import BrainLDMError
from brainldm.formats.nifti import write_image

PERSON = {"sex": "F", "ventricles_ml": 30.0, "brain_ml": 1560.0}


@pytest.fixture(scope="module")
def model():
    return brainldm.load(device="cpu", steps=2, batch_size=1)


def test_importing_the_package_imports_nothing_heavy():
    code = "import brainldm, sys; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "numpy", "nibabel", "pandas", "pydantic"} & set(modules)


def test_the_images_are_byte_for_byte_those_of_the_command(tmp_path: Path, model):
    images = model.sample(age_years=65, **PERSON, n=2, seed=7, index=4)
    sample.main(65, **PERSON, out=tmp_path / "made", n=2, seed=7, index=4, steps=2, batch_size=1, device="cpu")
    assert images[0].shape == model.given.grid.shape
    assert 0.5 < np.quantile(images[0].get_fdata(), 0.99) < 1.5
    files = sorted((tmp_path / "made").glob("*.nii.gz"))
    assert [path.name for path in files] == [f"sub-00000{row}_T1w.nii.gz" for row in (5, 6)]
    for image, path in zip(images, files, strict=True):
        write_image(tmp_path / "again.nii.gz", image)
        assert (tmp_path / "again.nii.gz").read_bytes() == path.read_bytes()


def test_covariates_tell_ranges_and_units(model):
    found = model.covariates
    assert list(found) == ["sex", "age_years", "ventricles_ml", "brain_ml"]
    assert found["age_years"].unit == "years"
    assert 40 < found["age_years"].low < found["age_years"].high < 90


def test_a_model_moves_to_a_device_gives_the_same_bytes_there_and_leaves_the_random_numbers_of_torch_alone(model):
    before = torch.get_rng_state()
    there = model.to("cpu")
    assert torch.equal(before, torch.get_rng_state())
    assert there.given == model.given
    first, second = (each.sample(age_years=50, **PERSON)[0].get_fdata() for each in (model, there))
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "nowhere"}, "nowhere: expected a model laid out as results/"),
        pytest.param(
            {"device": "cuda"},
            "device: expected a GPU, found none",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU"),
        ),
    ],
)
def test_what_cannot_be_loaded_is_one_error(arguments, message):
    with pytest.raises(BrainLDMError, match=message):
        brainldm.load(**arguments)


def test_a_sex_that_is_none_of_the_two_is_one_error(model):
    with pytest.raises(BrainLDMError, match="expected sex to be F or M, found X"):
        model.sample(age_years=50, **PERSON | {"sex": "X"})
