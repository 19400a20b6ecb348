"""Exported bundles: MONAI's own command runs them without brainldm, and what its networks cannot do is refused by name."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import monai.networks.schedulers
import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from bundle_files import SMALL_AUTOENCODER, SMALL_DIFFUSION, randomised, write_old_files

from brainldm.core.config import Sampling, parse
from brainldm.core.covariates import Ranges
from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.models import autoencoder, bundle, bundle_export, bundle_sampler, diffusion
from brainldm.models.autoencoder import Autoencoder
from brainldm.models.diffusion import Diffusion
from brainldm.models.samplers import ddim, ddim_timesteps
from brainldm.models.sampling import sample_volumes
from brainldm.models.schedule import scaled_linear

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))
RANGES = Ranges((0, 20, 5, 900), (1, 90, 90, 1500))
FILES = (Path("coder.safetensors"), Path("denoiser.safetensors"))


def own_networks(coder: dict[str, Any] = {}, denoiser: dict[str, Any] = {}) -> tuple[Autoencoder, Diffusion]:  # noqa: B006
    """As the tiny configuration trains them, without the options that MONAI's networks lack, except for those given."""
    plain = {"space_to_depth": 1, "position_channels": 0}
    first = autoencoder.build(CONFIG.train_autoencoder.model_copy(update={"channels": (8, 8, 16)} | plain | coder), CONFIG.grid)
    options = CONFIG.train_diffusion.model_copy(update=plain | denoiser)
    second = diffusion.build(options, first.latent_shape(CONFIG.grid.shape), RANGES)
    return randomised(first, 1), randomised(second, 2)


def published_networks(folder: Path) -> tuple[Autoencoder, Diffusion]:
    files = write_old_files(folder)
    return bundle.read_autoencoder(files[0], SMALL_AUTOENCODER), bundle.read_diffusion(files[1], SMALL_DIFFUSION)


def run_bundle(folder: Path, *options: str) -> nib.Nifti1Image:
    """`python -m monai.bundle run` in the bundle's folder, where brainldm cannot be imported."""
    (folder / "sitecustomize.py").write_text("import sys\nsys.modules['brainldm'] = None\n")
    command = [sys.executable, "-m", "monai.bundle", "run", "--config_file", "configs/inference.json", *options]
    result = subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)}, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-3000:]
    (volume,) = (folder / "output").glob("*.nii.gz")
    return nib.load(volume)


def expected(networks: tuple[Autoencoder, Diffusion], covariates: list[float], seed: int, steps: int) -> np.ndarray:
    coder, denoiser = networks
    noise = torch.randn([1, *denoiser.latent_shape], generator=torch.Generator().manual_seed(seed))
    return sample_volumes(denoiser, coder, np.array([covariates]), noise, Sampling(steps=steps))[0, 0].numpy()


def test_monais_command_makes_our_volume_in_its_place(tmp_path: Path) -> None:
    pytest.importorskip("fire", reason="MONAI's command line needs fire")
    networks = own_networks(denoiser={"prediction": "v_prediction"})
    networks[1].latent_spread.fill_(2.5)
    bundle_export.check(*networks, FILES)
    bundle_export.write(tmp_path / "ours", *networks)
    options = {"sex": 1, "age_years": 95, "ventricles_ml": 20.5, "brain_ml": 1300, "seed": 11, "steps": 7, "out_file": "made"}
    image = run_bundle(tmp_path / "ours", *(word for name, value in options.items() for word in (f"--{name}", str(value))))
    assert Path(image.get_filename()).name == "made.nii.gz"
    assert image.get_data_dtype() == np.float32
    assert image.affine == pytest.approx(CONFIG.grid.affine)
    volume = expected(networks, [1, 95, 20.5, 1300], 11, 7)
    assert volume.std() > 0.01
    assert np.abs(image.get_fdata() - volume).max() <= 1e-4 * np.abs(volume).max()


def test_imported_weights_exported_again_give_the_same_head_from_right_to_left(tmp_path: Path) -> None:
    pytest.importorskip("fire", reason="MONAI's command line needs fire")
    networks = published_networks(tmp_path)
    bundle_export.write(tmp_path / "again", *networks)
    image = run_bundle(tmp_path / "again", "--steps", "3")
    middle = json.loads((tmp_path / "again/configs/inference.json").read_text())
    volume = expected(networks, [middle[name] for name in ("sex", "age_years", "ventricles_ml", "brain_ml")], 0, 3)
    assert nib.aff2axcodes(image.affine) == ("L", "A", "S")
    turned = nib.as_closest_canonical(image)
    assert turned.affine == pytest.approx(Grid(**{name: SMALL_AUTOENCODER[name] for name in Grid.model_fields}).affine, abs=1e-4)
    assert np.abs(turned.get_fdata() - volume).max() <= 1e-4 * np.abs(volume).max()
    assert bundle.read_autoencoder(tmp_path / "again/models/autoencoder.pt", SMALL_AUTOENCODER).spec == SMALL_AUTOENCODER
    found = bundle.read_diffusion(tmp_path / "again/models/model.pt", SMALL_DIFFUSION).state_dict()
    assert all(torch.equal(found[name], tensor) for name, tensor in networks[1].state_dict().items())


def test_the_published_volumes_lie_where_their_own_saver_and_crop_put_them() -> None:
    affine = bundle_export.affine(bundle.AUTOENCODER)
    assert np.diag(affine).tolist() == [-1, 1, 1, 1]
    assert affine[:3, 3] == pytest.approx([96.48149872 - 16, -141.47715759 + 16, -156.55375671 + 96], abs=1e-6)


def test_the_folder_is_whole_and_needs_no_brainldm(tmp_path: Path) -> None:
    bundle_export.write(tmp_path / "ours", *own_networks())
    names = {str(path.relative_to(tmp_path / "ours")) for path in (tmp_path / "ours").rglob("*") if path.is_file()}
    texts = {"configs/inference.json", "configs/metadata.json", "docs/README.md", "scripts/__init__.py", "scripts/sampler.py"}
    assert names == texts | {"models/autoencoder.pt", "models/model.pt"}
    for name in ("configs/inference.json", "scripts/sampler.py"):
        assert "brainldm" not in (tmp_path / "ours" / name).read_text()
    readme = (tmp_path / "ours/docs/README.md").read_text()
    assert "16 x 24 x 16 voxels of 10 mm" in readme
    assert "| `age_years` | 20 | 90 |" in readme
    metadata = json.loads((tmp_path / "ours/configs/metadata.json").read_text())
    assert metadata["network_data_format"]["outputs"]["image"]["spatial_shape"] == [16, 24, 16]
    with pytest.raises(DataError, match="the folder holds configs/inference"):
        bundle_export.write(tmp_path / "ours", *own_networks())


@pytest.mark.parametrize(
    ("coder", "denoiser", "fault"),
    [
        ({"space_to_depth": 2}, {}, r"coder\.safetensors: expected space_to_depth 1, .* found 2"),
        ({"position_channels": 8}, {}, r"coder\.safetensors: expected position_channels 0, .* found 8"),
        ({}, {"space_to_depth": 2}, r"denoiser\.safetensors: expected space_to_depth 1, .* found 2"),
        ({}, {"position_channels": 3}, r"denoiser\.safetensors: expected position_channels 0, .* found 3"),
    ],
)
def test_options_that_monai_lacks_are_refused_by_name(coder: dict[str, Any], denoiser: dict[str, Any], fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        bundle_export.check(*own_networks(coder, denoiser), FILES)


def test_standardised_and_mismatched_networks_are_refused() -> None:
    coder, denoiser = own_networks()
    other = own_networks({"channels": (8, 8)})[0]
    with pytest.raises(DataError, match=r"denoiser\.safetensors: expected latents of shape \(3, 8, 12, 8\)"):
        bundle_export.check(other, denoiser, FILES)
    denoiser.standardise(torch.randn(9, *denoiser.latent_shape), torch.rand(9, 4))
    with pytest.raises(DataError, match=r"denoiser\.safetensors: expected standardise false"):
        bundle_export.check(coder, denoiser, FILES)
    coder.standardise(np.full(CONFIG.grid.shape, 0.3, np.float32), 1.0)
    with pytest.raises(DataError, match=r"coder\.safetensors: expected standardise false"):
        bundle_export.check(coder, denoiser, FILES)
    del coder.spec["spacing_mm"]
    coder.mean.zero_()
    denoiser.latent_fit.zero_()
    with pytest.raises(DataError, match=r"coder\.safetensors: expected the grid's spacing_mm"):
        bundle_export.check(coder, denoiser, FILES)


@pytest.mark.parametrize("steps", [3, 10, 50, 1000])
def test_the_exported_scheduler_takes_our_steps(steps: int) -> None:
    schedule = scaled_linear(1000, 0.0015, 0.0205)
    settings = {"schedule": "scaled_linear_beta", "beta_start": 0.0015, "beta_end": 0.0205, "clip_sample": False}
    scheduler = bundle_sampler.set_timesteps(monai.networks.schedulers.DDIMScheduler(1000, **settings), steps)
    assert scheduler.timesteps.tolist() == ddim_timesteps(1000, steps)
    noise = torch.randn(1, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = noise.clone()
    for timestep in scheduler.timesteps.tolist():
        x, _ = scheduler.step(torch.sin(x) + timestep / 1000, timestep, x)
    ours = ddim(lambda x, t: torch.sin(x) + t[0] / 1000, noise, schedule, steps)
    assert (x - ours).abs().max() <= 1e-4 * ours.abs().max()


def test_monais_own_timesteps_are_still_another_stride() -> None:
    """The reason why the exported script sets them; once this fails, it need not."""
    scheduler = monai.networks.schedulers.DDIMScheduler(1000)
    scheduler.set_timesteps(10)
    gaps = -scheduler.timesteps.diff()
    assert (gaps != 1000 // 10).any()
    assert re.search("MONAI 1.6.1", bundle_export.README)
