"""One optimisation step of each of the paper's networks at 160 x 224 x 160, by the stages themselves, within 20 GiB of memory.

`python tests/models/test_full_size.py` measures the ways to save memory, one after another.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
import torch
import yaml

sys.path.append(str(Path(__file__).parents[1] / "support"))

from scans import ROOT, write_scans, write_section, write_segmenter

from brainldm.core.config import parse
from brainldm.models import latents

PAPER = parse(yaml.safe_load((ROOT / "workflow/presets/paper.yaml").read_text()))
ONE_STEP = {"steps": 1, "warmup_steps": 1, "save_every_s": 1e9}
GAN = {"adversarial_start": 0}
PATCH = {"patch_shape": [80, 112, 80]}
LIMIT_GIB = 20


class Cost(NamedTuple):
    """Of one process, from its start to its end: an optimisation step, and reading and writing around it."""

    seconds: float
    cpu_seconds: float
    peak_gib: float


def run(*arguments: Any) -> Cost:
    """Run a stage in a process of its own."""
    start = time.monotonic()
    process = subprocess.Popen([sys.executable, "-m", "brainldm", *map(str, arguments), "--device=cpu"], cwd=ROOT)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost(time.monotonic() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 2**20)


def autoencoder_step(folder: Path, **changes: Any) -> Cost:
    section = write_section(folder / "section.json", "train_autoencoder", PAPER, "bf16-mixed", **{**ONE_STEP, **GAN, **changes})
    features = write_segmenter(folder / "segmenter.safetensors", PAPER)
    files = {"section": section, "covariates": write_scans(folder, PAPER.grid, 1), "features": features}
    return run("train_autoencoder", *(f"--{name}={path}" for name, path in files.items()), f"--out={folder}/model.safetensors")


def diffusion_step(folder: Path, **changes: Any) -> Cost:
    section = write_section(folder / "section.json", "train_diffusion", PAPER, "bf16-mixed", **{**ONE_STEP, "batch_size": 1, **changes})
    covariates, names = write_scans(folder, PAPER.grid, 2), ["sub-00", "sub-01"]
    mu = torch.randn(2, 3, 20, 28, 20)
    latents.write_file(latents.file_of(folder / "latents.json", 0), mu, mu.abs(), names, "test")
    latents.write_manifest(folder / "latents.json", [names])
    files = {"section": section, "covariates": covariates, "latents": folder / "latents.json"}
    return run("train_diffusion", *(f"--{name}={path}" for name, path in files.items()), f"--out={folder}/model.safetensors")


@pytest.mark.slow
def test_a_step_of_the_autoencoder_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = autoencoder_step(tmp_path, recompute=True)
    with capsys.disabled():
        print(f"\nautoencoder with discriminator, recomputed: {cost}")
    assert cost.peak_gib < LIMIT_GIB


@pytest.mark.slow
def test_a_step_of_the_diffusion_model_fits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = diffusion_step(tmp_path)
    with capsys.disabled():
        print(f"\ndiffusion model: {cost}")
    assert cost.peak_gib < LIMIT_GIB


if __name__ == "__main__":
    MEASURES: dict[str, Any] = {
        "crop": lambda folder: autoencoder_step(folder, **PATCH),
        "crop, recompute": lambda folder: autoencoder_step(folder, **PATCH, recompute=True),
        "crop, no discriminator": lambda folder: autoencoder_step(folder, **PATCH, adversarial_start=9),
        "whole, recompute": lambda folder: autoencoder_step(folder, recompute=True),
        "diffusion": diffusion_step,
        "diffusion, batch of 4 in 4 passes": lambda folder: diffusion_step(folder, batch_size=4, accumulate=4),
    }
    for title in sys.argv[1:] or MEASURES:
        with TemporaryDirectory() as folder:
            print(title, MEASURES[title](Path(folder)), flush=True)
