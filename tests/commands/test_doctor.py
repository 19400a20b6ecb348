"""`brainldm doctor`: a sound set-up passes; each planted fault stands in the table with its cause and remedy, and ends with status 1."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from typer.testing import CliRunner, Result

from brainldm.__main__ import application
from brainldm.core.config import parse
from brainldm.core.covariates import covariate_array, ranges_of
from brainldm.formats.nifti import encode_native, encode_volume, quantise, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.models import autoencoder, checkpoint, diffusion, latents

VALUES = yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text())
CONFIG = parse(VALUES)
N = 6


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")


def doctor(folder: Path, *words: object, **changes: Any) -> Result:
    """Run it on the tiny configuration with changes of its sections, on a manifest and results in `folder`."""
    values = VALUES | {"source": {"kind": "manifest", "manifest": str(folder / "scans.tsv")}}
    for name, change in changes.items():
        values[name] = values[name] | change if isinstance(change, dict) else change
    (folder / "mine.yaml").write_text(yaml.safe_dump(values))
    arguments = ["doctor", "--config", folder / "mine.yaml", "--results", folder / "results", *words]
    return CliRunner().invoke(application("doctor"), [str(word) for word in arguments])


def verdict(result: Result, check: str) -> str:
    """The last cell of the only line of the table that begins with `check`."""
    (line,) = [line for line in result.output.splitlines() if line.startswith(f"│ {check} ")]
    return line.split("│")[-2].strip()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Raw scans and their manifest."""
    brain = np.zeros((40, 48, 40), np.int16)
    brain[8:32, 8:40, 8:32] = 500 + np.random.default_rng(0).integers(0, 200, (24, 32, 24))
    for index in range(N):
        write_bytes(tmp_path / f"scan{index}.nii.gz", encode_native(brain + index, np.diag([4.0, 4.0, 4.0, 1.0]), "a scan"))
    write_tsv(
        tmp_path / "scans.tsv", people().assign(t1w=[f"scan{index}.nii.gz" for index in range(N)], split=["train"] * 3 + ["test"] * 3)
    )
    return tmp_path


def people() -> pd.DataFrame:
    table = pd.DataFrame(
        {"participant_id": [f"sub-{index}" for index in range(N)], "age_years": range(50, 50 + N), "sex": ["F", "M"] * (N // 2)}
    )
    return table.assign(split=["train"] * (N - 1) + ["test"])


def write_latents(results: Path, mu: torch.Tensor, names: list[str]) -> None:
    manifest = results / "encode/latents.json"
    latents.write_file(latents.file_of(manifest, 0), mu, torch.full_like(mu, 0.1), names, "a test")
    latents.write_manifest(manifest, [names])


@pytest.fixture
def results(folder: Path) -> Path:
    """What a run has made by the diffusion model: scans on the grid, the autoencoder's mean scan, latents, a model trained on them."""
    made, rng = folder / "results", np.random.default_rng(1)
    common = rng.random(CONFIG.grid.shape)
    volumes = np.stack([common + 0.2 * (index - 2.5) * np.linspace(-1, 1, CONFIG.grid.shape[0])[:, None, None] for index in range(N)])
    table = people().assign(
        volume=[f"{index}.nii.gz" for index in range(N)], ventricles_ml=range(20, 20 + N), brain_ml=[1400, 1300] * (N // 2)
    )
    for name, volume in zip(table["volume"], volumes, strict=True):
        write_bytes(made / "covariates" / name, encode_volume(quantise(volume), CONFIG.grid, "a volume"))
    write_tsv(made / "covariates/covariates.tsv", table)
    torch.manual_seed(0)
    coder = autoencoder.build(CONFIG.train_autoencoder, CONFIG.grid)
    coder.standardise(volumes[-1], 0.01)  # the held-out scan itself: what random weights add is small
    checkpoint.save(made / "train_autoencoder/model.safetensors", coder.state_dict(), coder.spec)
    mu = torch.randn(N, *coder.latent_shape(CONFIG.grid.shape))
    write_latents(made, mu, table["participant_id"].tolist())
    covariates = covariate_array(table)[:-1]
    denoiser = diffusion.build(CONFIG.train_diffusion, tuple(mu.shape[1:]), ranges_of(covariates, "table"))
    denoiser.latent_spread.fill_(float(mu[:-1].std()))
    checkpoint.save(made / "train_diffusion/model.safetensors", denoiser.state_dict(), denoiser.spec)
    return made


def test_a_sound_set_up_passes_with_status_0(folder: Path, results: Path) -> None:
    result = doctor(folder, "--sample", 3)
    assert result.exit_code == 0, result.output
    assert "6 scans: 3 train, 3 test" in result.output
    assert result.output.count("voxels 4.00 x 4.00 x 4.00 mm") == 3
    for check in (
        "memory of train_autoencoder",
        "weights train_diffusion/model.safetensors",
        "autoencoder PSNR",
        "latents",
        "scale factor",
        "disk",
    ):
        assert verdict(result, check) == "ok", result.output
    assert "remedy" not in result.output


def test_before_the_first_run_of_the_demo_there_is_little_to_say(folder: Path) -> None:
    result = doctor(folder, source={"kind": "cohort", "manifest": None})
    assert result.exit_code == 0, result.output
    assert "12 scans of the embedded population will be made" in result.output


def test_a_mistyped_configuration_is_one_error(folder: Path) -> None:
    result = doctor(folder, generate={"stepps": 3})
    assert result.exit_code == 1
    assert "generate.stepps: unknown key; did you mean 'steps'?" in result.output
    assert doctor(folder, train_autoencoder={"norm_groups": 5}).exit_code == 1


@pytest.mark.parametrize(
    ("changes", "check", "cause", "remedy"),
    [
        ({"segmenter": "/nowhere/mri_synthseg"}, "segmenter", "found none at '/nowhere/mri_synthseg'", "mri_synthseg"),
        ({"preprocess": {"backend": "unires", "unires_command": "no-unires"}}, "UniRes", "no-unires", "docs/registration.md"),
        ({"segmenter": "/nowhere/synthseg_2.0.h5"}, "weights nowhere/synthseg_2.0.h5", "/nowhere/synthseg_2.0.h5", "copy the file again"),
        ({"request": {"n_rows": 10**10}}, "disk", "will not fit", "request.n_rows"),
        ({"grid": {"shape": [16, 20, 16]}}, "grid", "[16, 20, 16] does not fit the networks: train_diffusion needs", "multiple of 8"),
        ({"covariates": {"volumes": "manifest"}}, "manifest", "6 scans have no volumes", "covariates.volumes: segmented"),
    ],
)
def test_a_planted_fault_of_the_configuration_is_named(folder: Path, changes: dict[str, Any], check: str, cause: str, remedy: str) -> None:
    result = doctor(folder, **changes)
    assert result.exit_code == 1, result.output
    assert verdict(result, check) == "error"
    told = result.output.split(f"error: {check}\n")[1]
    assert cause in told.split("remedy:")[0]
    assert remedy in told.split("remedy:")[1]


def test_a_card_that_is_too_small_is_an_error(folder: Path) -> None:
    result = doctor(folder, "--memory-gb", 0.005)
    assert result.exit_code == 1
    assert verdict(result, "memory of train_diffusion") == "error"
    assert "train_diffusion.batch_size" in result.output


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_an_error_unless_its_memory_is_given(folder: Path) -> None:
    assert "torch finds none on this machine" in doctor(folder, device="cuda").output
    assert doctor(folder, "--memory-gb", 24, device="cuda").exit_code == 0


def test_a_bad_scan_is_named_with_the_reason(folder: Path) -> None:
    path = folder / "scan5.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    result = doctor(folder)
    assert result.exit_code == 1
    assert f"{path}: expected a whole gzip file" in result.output
    assert doctor(folder, preprocess={"on_bad_scan": "skip"}).exit_code == 0
    assert doctor(folder, "--sample", 0).exit_code == 0


def test_weights_named_by_hand_are_checked(folder: Path, results: Path) -> None:
    result = doctor(folder, "--weights", results / "train_autoencoder/model.safetensors", train_autoencoder={"channels": [16, 16]})
    assert result.exit_code == 1
    assert "channels: configured [16, 16], in the file [8, 16]" in result.output


def test_an_autoencoder_that_shows_the_mean_brain_is_a_warning(folder: Path, results: Path) -> None:
    coder = autoencoder.load(results / "train_autoencoder/model.safetensors")
    coder.standardise(np.full(CONFIG.grid.shape, 0.5), 0.01)
    checkpoint.save(results / "train_autoencoder/model.safetensors", coder.state_dict(), coder.spec)
    result = doctor(folder)
    assert result.exit_code == 0
    assert verdict(result, "autoencoder PSNR") == "warning"
    assert "raise train_autoencoder.steps" in result.output


def test_latents_that_the_model_was_not_trained_on_are_an_error(folder: Path, results: Path) -> None:
    names = pd.read_csv(results / "covariates/covariates.tsv", sep="\t")["participant_id"].tolist()
    write_latents(results, 3 * latents.load(results / "encode/latents.json", names).batch(range(N))[0], names)
    result = doctor(folder)
    assert result.exit_code == 1
    assert verdict(result, "scale factor") == "error"


def test_results_that_do_not_belong_together_are_an_error(folder: Path, results: Path) -> None:
    table = pd.read_csv(results / "covariates/covariates.tsv", sep="\t")
    write_tsv(results / "covariates/covariates.tsv", table[::-1])
    result = doctor(folder)
    assert result.exit_code == 1
    assert "found those of other scans" in result.output
