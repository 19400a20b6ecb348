"""Real processes: two that share a batch do what one does; one that is killed or told to end goes on and ends the same."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from held import held_command
from safetensors.torch import load_file

from brainldm.core import copula
from brainldm.core.covariates import covariate_array
from brainldm.core.files import write_json
from brainldm.core.requests import CovariateModel
from brainldm.formats.tables import read_tsv, write_tsv
from brainldm.models import diffusion, latents
from brainldm.models.training import REQUEUE

N = 16
OPTIONS = {
    "channels": [16],
    "attention_levels": [True],
    "head_channels": [16],
    "space_to_depth": 1,
    "position_channels": 2,
    "res_blocks": 1,
    "norm_groups": 4,
    "prediction": "epsilon",
    "ema_decay": 0.9,
    "standardise": False,
    "steps": 60,
    "batch_size": 4,
    "learning_rate": 1e-3,
    "warmup_steps": 5,
    "save_every_s": 0,
}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Latents of sixteen scans that follow their covariates, and the arguments that name them."""
    folder = tmp_path_factory.mktemp("inputs")
    generator = torch.Generator().manual_seed(0)
    ages = torch.linspace(45, 80, N)
    mu = torch.randn(N, 3, 4, 6, 4, generator=generator) + (ages / 40).view(N, 1, 1, 1, 1)
    names = [f"sub-{index}" for index in range(N)]
    for place in range(2):
        part = slice(8 * place, 8 * place + 8)
        sigma = torch.full_like(mu[part], 0.1)
        latents.write_file(latents.file_of(folder / "latents.json", place), mu[part], sigma, names[part], "test")
    latents.write_manifest(folder / "latents.json", [names[:8], names[8:]])
    table = pd.DataFrame({"participant_id": names, "split": "train", "age_years": ages, "sex": ["F", "M"] * (N // 2), "volume": "none"})
    write_tsv(folder / "covariates.tsv", table.assign(ventricles_ml=20 + 5 * np.arange(N) % 12, brain_ml=1400 + np.arange(N) ** 2 % 11))
    grid = {"shape": [16, 24, 16], "spacing_mm": 10.0, "center_mm": [0, -17, 7]}
    write_json(folder / "section.json", {"stage": "train_diffusion", "seed": 1, "precision": "32-true", "grid": grid, "section": OPTIONS})
    model = copula.fit(covariate_array(read_tsv(folder / "covariates.tsv")), CovariateModel(), "covariates.tsv")
    write_json(folder / "model.json", model.model_dump(mode="json"))
    files = {"section": "section.json", "covariates": "covariates.tsv", "covariate-model": "model.json", "latents": "latents.json"}
    return ["train_diffusion", *(f"--{name}={folder / file}" for name, file in files.items()), "--device=cpu"]


def start(inputs: list[str], out: Path, *launcher: str, hold: Path | None = None) -> subprocess.Popen[str]:
    """Start the training; where `hold` is given it waits, while that file stands, when it has saved its state once."""
    command = [sys.executable, *launcher, "-m", "brainldm", *inputs, f"--out={out / 'model.safetensors'}"]
    if hold is not None:
        command = held_command(command, hold, "state.pt", nth=2)
    settings = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == status, said[-3000:]
    return said


@pytest.fixture(scope="module")
def whole(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that ran through."""
    out = tmp_path_factory.mktemp("whole")
    finish(start(inputs, out))
    return out


def test_the_measured_scale_factor_is_in_the_checkpoint(inputs: list[str], whole: Path) -> None:
    manifest = Path(next(word for word in inputs if word.startswith("--latents=")).removeprefix("--latents="))
    spread = latents.load(manifest, [f"sub-{index}" for index in range(N)]).spread()
    network = diffusion.load(whole / "model.safetensors")
    assert network.spec["scale_factor"] == pytest.approx(1 / spread)
    x = torch.ones(1, *network.latent_shape)
    assert torch.allclose(network.to_latents(x, torch.zeros(1, 4)), x * spread, rtol=1e-5)


def losses(folder: Path) -> list[float]:
    return [float(row["mse"]) for row in csv.DictReader((folder / "log.csv").open())]


def test_two_processes_do_what_one_does_with_the_whole_batch(inputs: list[str], whole: Path, tmp_path: Path) -> None:
    finish(start(inputs, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"))
    assert losses(tmp_path) == pytest.approx(losses(whole), rel=1e-4)
    one, two = (load_file(folder / "model.safetensors") for folder in (whole, tmp_path))
    for name, tensor in one.items():
        assert torch.allclose(tensor, two[name], atol=1e-4), name


def test_a_batch_that_processes_cannot_share_is_refused(inputs: list[str], tmp_path: Path) -> None:
    process = start(inputs, tmp_path, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=3")
    assert "batch_size: expected a multiple of the 3 processes, found 4" in finish(process, status=1)


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, REQUEUE)])
def test_a_training_that_was_ended_goes_on_and_ends_the_same(
    inputs: list[str], whole: Path, tmp_path: Path, how: signal.Signals, status: int
) -> None:
    process = start(inputs, tmp_path, hold=tmp_path / "hold")
    while not (tmp_path / "state.pt").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(how)
    (tmp_path / "hold").unlink()
    finish(process, status)
    assert not (tmp_path / "model.safetensors").exists()
    assert (tmp_path / "state.pt").exists()
    assert "goes on after step" in finish(start(inputs, tmp_path))
    one, other = ((folder / "model.safetensors").read_bytes() for folder in (whole, tmp_path))
    assert one == other
    assert losses(tmp_path) == losses(whole)
