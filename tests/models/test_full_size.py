"""The paper's size, 160 x 224 x 160: an optimisation step of each network within 20 GiB of memory, an evaluation within 4 GiB.

By the stages themselves, in processes of their own.

`python tests/models/test_full_size.py` measures the ways to save memory, one after another.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
import yaml

sys.path.append(str(Path(__file__).parents[1] / "support"))

from judged import write_judged
from scans import ROOT, write_scans, write_section, write_segmenter
from spent import Spent, spent

from brainldm.core.config import parse
from brainldm.models import latents

PAPER = parse(yaml.safe_load((ROOT / "workflow/presets/paper.yaml").read_text()))
ONE_STEP = {"steps": 1, "warmup_steps": 1, "save_every_s": 1e9}
GAN = {"adversarial_start": 0}
PATCH = {"patch_shape": [80, 112, 80]}


def run(*arguments: Any, within: Iterable[Any] = ()) -> Spent:
    """Run a stage in a process of its own, started by the words `within`."""
    return spent(*within, sys.executable, "-m", "brainldm", *arguments, "--device=cpu")


def autoencoder_step(folder: Path, **changes: Any) -> Spent:
    section = write_section(folder / "section.json", "train_autoencoder", PAPER, "bf16-mixed", **{**ONE_STEP, **GAN, **changes})
    features = write_segmenter(folder / "segmenter.safetensors", PAPER)
    files = {"section": section, "covariates": write_scans(folder, PAPER.grid, 1), "features": features}
    return run("train_autoencoder", *(f"--{name}={path}" for name, path in files.items()), f"--out={folder}/model.safetensors")


def diffusion_step(folder: Path, **changes: Any) -> Spent:
    section = write_section(folder / "section.json", "train_diffusion", PAPER, "bf16-mixed", **{**ONE_STEP, "batch_size": 1, **changes})
    covariates, names = write_scans(folder, PAPER.grid, 2), ["sub-00", "sub-01"]
    mu = torch.randn(2, 3, 20, 28, 20)
    latents.write_file(latents.file_of(folder / "latents.json", 0), mu, mu.abs(), names, "test")
    latents.write_manifest(folder / "latents.json", [names])
    files = {"section": section, "covariates": covariates, "latents": folder / "latents.json"}
    return run("train_diffusion", *(f"--{name}={path}" for name, path in files.items()), f"--out={folder}/model.safetensors")


def evaluation(folder: Path, *within: Any) -> Spent:
    quick = {"ssim_pairs": 2, "ssim_sample": 2, "bootstrap": 20, "ladder_steps": 2, "planted_copies": 1, "batch_size": 1}
    files = write_judged(folder, 12, 3, PAPER, "bf16-mixed", encoded=False, **quick)
    lists = {name: values if isinstance(values, list) else [values] for name, values in files.items()}
    return run("evaluate", *(f"--{name}={value}" for name, values in lists.items() for value in values), within=within)


@pytest.mark.slow
@pytest.mark.parametrize(
    "measured",
    [partial(autoencoder_step, recompute=True), diffusion_step],
    ids=["autoencoder with discriminator, recomputed", "diffusion model"],
)
def test_a_step_fits(measured: Callable[[Path], Spent], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = measured(tmp_path)
    with capsys.disabled():
        print(f"\n{cost}")
    assert cost.peak_mib < 20 * 1024


@pytest.fixture
def four_gib() -> Iterator[list[str]]:
    """A shell that is killed, as is all it starts, where they would need more memory; the cache of files counts, and goes first."""
    folder = Path(f"/sys/fs/cgroup/memory/brainldm-{os.getpid()}")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"expected to make a memory cgroup (version 1), found that it fails: {error}")
    (folder / "memory.limit_in_bytes").write_text(str(4 << 30))
    yield ["sh", "-c", f'echo $$ > {folder}/cgroup.procs; exec "$@"', "sh"]
    folder.rmdir()


@pytest.mark.slow
def test_an_evaluation_ends_where_there_are_four_gib(four_gib: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cost = evaluation(tmp_path, *four_gib)
    with capsys.disabled():
        print(f"\n{cost}")
    assert (tmp_path / "evaluate/report.json").exists()


if __name__ == "__main__":
    MEASURES: dict[str, Any] = {
        "crop": lambda folder: autoencoder_step(folder, **PATCH),
        "crop, recompute": lambda folder: autoencoder_step(folder, **PATCH, recompute=True),
        "crop, no discriminator": lambda folder: autoencoder_step(folder, **PATCH, adversarial_start=9),
        "whole, recompute": lambda folder: autoencoder_step(folder, recompute=True),
        "evaluation": evaluation,
        "diffusion": diffusion_step,
        "diffusion, batch of 4 in 4 passes": lambda folder: diffusion_step(folder, batch_size=4, accumulate=4),
    }
    for title in sys.argv[1:] or MEASURES:
        with TemporaryDirectory() as folder:
            print(title, MEASURES[title](Path(folder)), flush=True)
