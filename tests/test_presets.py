"""The presets: whole configurations, a source for every number, networks of the published sizes, jobs that Snakemake can plan."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from brainldm.core.config import Config, parse
from brainldm.core.covariates import Ranges
from brainldm.models import autoencoder, diffusion

ROOT = Path(__file__).parents[1]
PRESETS = sorted((ROOT / "workflow/presets").glob("*.yaml"))
RANGES = Ranges((0, 44, 6.99568, 1144.24), (1, 82, 171.375, 1793.91))
PUBLISHED = {
    "diffusion": 553_168_899,  # 553.17 M
    "autoencoder": 13_766_248,  # 13.77 M
}

each_preset = pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)


def _config(path: Path) -> Config:
    return parse(yaml.safe_load(path.read_text()), path.name)


def _keys(values: Any, above: str = "") -> set[str]:
    if not isinstance(values, dict):
        return {above}
    return {key for name, value in values.items() for key in _keys(value, f"{above}.{name}")}


@each_preset
def test_nothing_of_the_demo_is_left_where_a_preset_is_laid_over_it(path: Path) -> None:
    demo, preset = (yaml.safe_load(file.read_text()) for file in (ROOT / "config.yaml", path))
    assert parse(_laid_over(demo, preset)) == parse(preset)


def _laid_over(under: Any, above: Any) -> Any:
    """As Snakemake does with a second configuration file."""
    if not isinstance(under, dict) or not isinstance(above, dict):
        return above
    return under | {name: _laid_over(under.get(name), value) for name, value in above.items()}


def _parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@each_preset
def test_a_preset_is_valid_and_leaves_nothing_to_the_demos_configuration(path: Path) -> None:
    assert _config(path).source.kind == "manifest"
    demo, preset = (yaml.safe_load(file.read_text()) for file in (ROOT / "config.yaml", path))
    assert _keys(demo) <= _keys(preset)


@pytest.mark.parametrize("path", [path for path in PRESETS if path.stem != "tiny"], ids=lambda path: path.stem)
def test_every_number_carries_its_source(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if re.match(r"\s*(?!kind|manifest)\w+: *[^#\s]", line)]
    assert len(lines) > 90
    sources = re.compile(r"# (the paper|paper|bundle|lab2023|ours|SynthSeg|Cole et al\. 2017|a public reimplementation of Cole)\b")
    assert [line for line in lines if not sources.search(line)] == []


@each_preset
def test_networks_fit_the_grid(path: Path) -> None:
    config = _config(path)
    with torch.device("meta"):
        coder = autoencoder.build(config.train_autoencoder, config.grid)
        latent = coder.latent_shape(config.grid.shape)
        denoiser = diffusion.build(config.train_diffusion, latent, RANGES)
        mu, _ = coder.encode(torch.zeros(1, 1, *config.grid.shape))
        assert coder.decode(mu).shape == (1, 1, *config.grid.shape)
        noise = denoiser(torch.zeros(1, *latent), torch.zeros(1), torch.zeros(1, 4))
    assert mu.shape[1:] == noise.shape[1:] == latent


def test_the_papers_networks_have_the_published_number_of_parameters() -> None:
    config = _config(ROOT / "workflow/presets/paper.yaml")
    with torch.device("meta"):
        coder = autoencoder.build(config.train_autoencoder, config.grid)
        denoiser = diffusion.build(config.train_diffusion, (3, 20, 28, 20), RANGES)
    assert coder.latent_shape(config.grid.shape) == (3, 20, 28, 20)
    assert {"diffusion": _parameters(denoiser), "autoencoder": _parameters(coder)} == PUBLISHED


def test_the_papers_grid_is_the_published_volumes_place() -> None:
    """The bundle's saver has x run leftwards from 96.48 on the uncropped grid; the crop starts at (16, 16, 96)."""
    affine = _config(ROOT / "workflow/presets/paper.yaml").grid.affine
    leftmost = 96.48149872 - 16 - 159
    assert affine[:3, 3] == pytest.approx([leftmost, -141.47715759 + 16, -156.55375671 + 96], abs=1e-3)


def _plan(folder: Path, preset: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "snakemake", "--dry-run", "--quiet", "host", "--cores", "2", "--directory", folder]
    options = ["--snakefile", ROOT / "Snakefile", "--workflow-profile", ROOT / "workflow/profiles/default", "--configfile", preset]
    return subprocess.run([*map(str, [*command, *options]), *arguments], capture_output=True, text=True, timeout=300)


@each_preset
def test_snakemake_can_plan_a_preset_for_a_manifest(path: Path, tmp_path: Path) -> None:
    people = [f"sub-{i:03d}\tscan{i}.nii.gz\t{50 + i / 10}\t{'FM'[i % 2]}\t{'test' if i % 5 == 0 else 'train'}" for i in range(250)]
    (tmp_path / "scans.tsv").write_text("\n".join(["participant_id\tt1w\tage_years\tsex\tsplit", *people]) + "\n")
    result = _plan(tmp_path, path, "--config", "source={kind: manifest, manifest: scans.tsv}")
    assert result.returncode == 0, result.stderr[-2000:]
    counts = {words[0]: int(words[1]) for line in result.stdout.splitlines() if len(words := line.split()) == 2 and words[1].isdigit()}
    config = _config(path)
    assert counts["preprocess"] == -(-250 // config.preprocess.scans_per_batch)
    assert counts["generate"] == -(-config.request.n_rows // config.request.rows_per_shard)
    assert counts["train_autoencoder"] == counts["train_diffusion"] == counts["release"] == 1


@each_preset
def test_without_a_manifest_the_error_says_what_to_name(path: Path, tmp_path: Path) -> None:
    result = _plan(tmp_path, path)
    assert result.returncode != 0
    assert "source.manifest: expected a TSV of scans, found none at 'name-your-manifest.tsv'" in result.stdout + result.stderr
    assert not (tmp_path / "results").exists()
