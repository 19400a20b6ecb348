"""LSGAN and VAE-GAN: trainings end, reconstructions come to resemble scans, rows follow from their seed and index."""

import csv
from pathlib import Path

import numpy as np
import pytest
from networks import write_requests
from scans import TINY, write_scans, write_section

from brainldm.formats.shard_set import ShardSet
from brainldm.formats.shards import read_manifest
from brainldm.stages import generate, train_baseline

FAST = {"learning_rate": 2e-3, "critic_learning_rate": 1e-4, "adversarial_weight": 1.0, "kl_weight": 0.01}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    write_scans(folder, TINY.grid, 16)
    return folder


def trained(folder: Path, method: str, steps: int) -> Path:
    section, out = write_section(folder / f"{method}.json", "train_baseline", steps=steps, **FAST), folder / method / "model.safetensors"
    train_baseline.main(section, folder / "covariates.tsv", method, out, "cpu")  # type: ignore[arg-type]
    return out


def test_vaegans_reconstructions_come_to_resemble_scans(folder: Path) -> None:
    with trained(folder, "vaegan", 60).with_name("log.csv").open() as handle:
        rows = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(handle)]
    assert rows[-1]["likelihood"] < 0.5 * rows[0]["likelihood"]
    assert all(np.isfinite(list(row.values())).all() for row in rows)


def test_rows_of_a_baseline_follow_from_seed_and_index_alone(folder: Path, tmp_path: Path) -> None:
    model, section = trained(folder, "lsgan", 3), write_section(tmp_path / "generate.json", "generate", attempts=1)
    (first,) = write_requests(tmp_path, [range(5)])
    (later,) = write_requests(tmp_path, [range(3, 8)])
    outs = [tmp_path / name / f"{request.stem}.json" for name, request in (("a", first), ("b", first), ("c", later))]
    for request, out in zip((first, first, later), outs, strict=True):
        generate.main(section, [request], model, None, out, device="cpu")
    rows = [{row["index"]: row["voxel_sha256"] for row in read_manifest(out)["rows"]} for out in outs]
    assert rows[0] == rows[1]
    assert len(set(rows[0].values())) == 5
    assert rows[0][3] == rows[2][3]
    assert set(read_manifest(outs[0])["provenance"]["weights_sha256"]) == {"autoencoder"}
    assert ShardSet([outs[0]], TINY.grid).batch(range(2)).shape == (2, 1, *TINY.grid.shape)
