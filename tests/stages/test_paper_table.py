"""The paper's table: five rows by one yardstick; a model that has collapsed is seen to have; rows of other sizes are refused."""

import json
from pathlib import Path

import pytest
import torch
from networks import requested, write_networks
from scans import TINY, write_scans, write_section

from brainldm.core import paper
from brainldm.core.errors import DataError
from brainldm.formats.tables import write_parquet
from brainldm.models import age, baselines, checkpoint
from brainldm.stages import generate, paper_table

N = 8


def write_baseline(folder: Path, method: str, collapsed: bool) -> Path:
    """A generator of random weights; one that has collapsed makes the same of every noise."""
    torch.manual_seed(3)
    generator, _, _ = baselines.build(TINY.train_baseline, method, TINY.grid)
    if collapsed:
        torch.nn.init.zeros_(generator.start.weight)
    path = folder / f"train_baseline/{method}/model.safetensors"
    checkpoint.save(path, generator.state_dict(), generator.spec)
    return path


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the table is made of."""
    folder = tmp_path_factory.mktemp("results")
    write_scans(folder, TINY.grid, 2 * N)
    coder, denoiser = write_networks(folder)
    for method in ("lsgan", "vaegan"):
        write_baseline(folder, method, collapsed=method == "lsgan")
    write_section(folder / "paper_table.json", "paper_table", n_volumes=N, timed=2)
    write_section(folder / "evaluate.json", "evaluate", ssim_pairs=10, bootstrap=50)
    write_section(folder / "generate.json", "generate", attempts=1)
    write_parquet(folder / f"request/000000-{N - 1:06d}.parquet", requested(range(N)))
    torch.manual_seed(0)
    options = TINY.train_age.model_dump(include={"channels", "space_to_depth"})
    years = age.AgeModel({"kind": "age", **options, "shape": TINY.grid.shape, "age_mean": 60.0, "age_sd": 8.0})
    checkpoint.save(folder / "age.safetensors", years.state_dict(), years.spec)
    for name in paper_table.ROWS:
        baseline = folder / f"train_baseline/{name}/model.safetensors"
        models = (baseline, None) if baseline.exists() else (coder, denoiser)
        generate.main(folder / "generate.json", [request(folder)], *models, volumes(folder, name), device="cpu")
    return folder


def request(folder: Path) -> Path:
    return folder / f"request/000000-{N - 1:06d}.parquet"


def volumes(folder: Path, name: str) -> Path:
    return folder / name / f"000000-{N - 1:06d}.json"


def run(folder: Path, out: Path, names: tuple[str, ...] = paper_table.ROWS) -> None:
    sections, shards = (folder / "paper_table.json", folder / "evaluate.json"), [volumes(folder, name) for name in names]
    models = [folder / f"train_baseline/{method}/model.safetensors" for method in ("lsgan", "vaegan")]
    ours = (folder / f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion"))
    paper_table.main(*sections, folder / "covariates.tsv", [request(folder)], shards, folder / "age.safetensors", models, *ours, out, "cpu")


def test_five_rows_stand_beside_the_published_ones(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = results / "paper_table/table.json"
    run(results, out)
    text = out.with_name("table.md").read_text()
    assert text in capsys.readouterr().out
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + 5
    assert lines[0].count("UK Biobank, published") == 3
    rows = json.loads(out.read_text())["rows"]
    assert list(rows) == list(paper.TABLE)
    for name, row in rows.items():
        assert all(f"{value:.4f}" in text for value in paper.TABLE[name].values())
        for key in ("fid", "ms_ssim", "g4r_ssim", "precision", "recall", *(["seconds"] if name != "real" else [])):
            low, high = row[f"{key}_ci"]
            assert low - 1e-9 <= row[key] <= high + 1e-9
            assert row[f"{key}_n"] > 0
    assert rows["lsgan"]["ms_ssim"] == pytest.approx(1, abs=1e-6)
    assert rows["lsgan"]["recall"] == 0 < rows["real"]["recall"]
    assert rows["real"]["ms_ssim"] < 0.999
    assert out.with_name("figure.png").read_bytes().startswith(b"\x89PNG")
    assert not out.with_name("work").exists()


def test_rows_of_other_numbers_are_refused(results: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--shard: expected as many volumes of each of lsgan, vaegan, ddpm, ddim, found"):
        run(results, tmp_path / "table.json", ("lsgan", "ddpm", "ddim"))
