"""The command `brainldm bundle`: published files in, volumes out of `generate`; our checkpoints in, a MONAI bundle out."""

import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from bundle_files import SMALL_AUTOENCODER, SMALL_DIFFUSION, plain_autoencoder, plain_diffusion, under_old_names, write_old_files
from typer.testing import CliRunner

sys.path.append(str(Path(__file__).parents[1] / "support"))

from spent import spent

from brainldm.__main__ import application
from brainldm.commands.bundle import save
from brainldm.core.config import Sampling, read_section
from brainldm.core.errors import BrainLDMError, DataError
from brainldm.formats.nifti import decode_volume
from brainldm.models import autoencoder, bundle, diffusion
from brainldm.models.noise import row_noise
from brainldm.models.sampling import sample_volumes
from brainldm.stages import generate

ROW = {"index": 5, "seed": 7, "sex": "M", "age_years": 90.0, "ventricles_ml": 40.0, "brain_ml": 1400.0}


def _run(*words: object) -> str:
    result = CliRunner().invoke(application("bundle"), ["bundle", *map(str, words)])
    if isinstance(result.exception, BrainLDMError):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def imported(tmp_path: Path) -> Path:
    """What `import` writes, of narrow networks: the command itself reads the published widths only."""
    files = write_old_files(tmp_path / "files")
    coder, denoiser = bundle.read_autoencoder(files[0], SMALL_AUTOENCODER), bundle.read_diffusion(files[1], SMALL_DIFFUSION)
    save(tmp_path / "published", coder, denoiser)
    return tmp_path / "published"


def test_imported_weights_generate_on_their_own_grid(imported: Path) -> None:
    models = [imported / f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion")]
    section = imported / "configure/generate.json"
    section.write_text(section.read_text().replace('"steps": 50', '"steps": 5'))
    pd.DataFrame([ROW]).to_parquet(imported / "rows.parquet")
    generate.main(section, [imported / "rows.parquet"], *models, imported / "made/000005-000005.json", device="cpu")
    with tarfile.open(imported / "made/000005-000005.tar") as tar:
        (name,) = [name for name in tar.getnames() if name.endswith(".nii.gz")]
        content: Any = tar.extractfile(name)
        volume = decode_volume(content.read(), read_section(section, "generate").grid, name)
    coder, denoiser = autoencoder.load(models[0]), diffusion.load(models[1])
    noise = row_noise(7, 5, denoiser.latent_shape)[None]
    direct = sample_volumes(denoiser, coder, np.array([[1.0, 90.0, 40.0, 1400.0]]), noise, Sampling(steps=5))[0, 0].numpy()
    assert np.abs(volume - direct).max() < 1e-3
    assert read_section(section, "generate").grid.shape == tuple(SMALL_AUTOENCODER["shape"])


def test_export_writes_a_bundle_of_two_checkpoints(imported: Path, tmp_path: Path) -> None:
    models = [f"--{name}={imported}/train_{name}/model.safetensors" for name in ("autoencoder", "diffusion")]
    _run("export", *models, "--out", tmp_path / "bundle")
    assert (tmp_path / "bundle/configs/inference.json").exists()
    with pytest.raises(DataError, match="the folder holds configs/inference"):
        _run("export", *models, "--out", tmp_path / "bundle")


def test_files_of_other_networks_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    first, second = write_old_files(tmp_path)
    with pytest.raises(DataError, match=r"autoencoder\.pth: expected the 162 tensors .* wrong encoder\.blocks\.0\.conv\.weight of shape"):
        _run("import", "--autoencoder", first, "--diffusion", second, "--out", tmp_path / "published")
    with pytest.raises(DataError, match=r"diffusion_model\.pth: expected .* missing encoder\.blocks\.0\.conv\.weight"):
        _run("import", "--autoencoder", second, "--diffusion", first, "--out", tmp_path / "published")
    assert not (tmp_path / "published").exists()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_the_full_network_is_imported_within_10_gb(tmp_path: Path, dtype: torch.dtype) -> None:
    with torch.device("meta"):
        networks = plain_autoencoder(bundle.AUTOENCODER), plain_diffusion(bundle.DIFFUSION)
    files = tmp_path / "autoencoder.pt", tmp_path / "model.pt"
    planted = {}
    for network, path in zip(networks, files, strict=True):
        tensors = {name: torch.randn(tensor.shape).mul_(0.02).to(dtype) for name, tensor in network.state_dict().items()}
        planted[path] = {
            name: tensor for name, tensor in tensors.items() if name in ("conv_in.conv.weight", "decoder.blocks.3.postconv.conv.weight")
        }
        torch.save(under_old_names(tensors), path)
        del tensors
    command = [sys.executable, "-m", "brainldm", "bundle", "import", "--autoencoder", files[0], "--diffusion", files[1], "--out", tmp_path]
    peak_gb = spent(*command).peak_mib * 2**20 / 1e9
    print(f"peak memory {peak_gb:.1f} GB")
    assert peak_gb < 10
    for path, name, load in zip(files, ("autoencoder", "diffusion"), (autoencoder.load, diffusion.load), strict=True):
        found = load(tmp_path / f"train_{name}/model.safetensors").network.state_dict()
        assert all(torch.equal(found[key], tensor.float()) for key, tensor in planted[path].items())
    for path in tmp_path.rglob("*.*"):
        if path.stat().st_size > 1e8:
            path.unlink()
