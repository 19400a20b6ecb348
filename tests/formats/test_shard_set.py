"""Shards are one dataset only if the same weights and settings made them, on whatever machines."""

import os
from pathlib import Path

import numpy as np
import pytest

from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.formats.nifti import encode_volume, voxel_sha256
from brainldm.formats.shard_set import ShardSet, current, join, provenance
from brainldm.formats.shards import commit, open_journal, pack, shard_rows

GRID = Grid(shape=(4, 5, 3), spacing_mm=20.0, center_mm=(0, -17, 6))


def shard(folder: Path, name: str, weights: str = "aa", device: str = "CPU", **own: object) -> Path:
    section = {"seed": 1, "section": {"batch_size": 2, "steps": 50, **own}}
    with open_journal(folder / "work" / name, name) as journal:
        for index in shard_rows(name):
            counts = np.full(GRID.shape, index, np.int16)
            commit(journal, index, encode_volume(counts, GRID, "x"), voxel_sha256(counts), np.zeros((1, 1, 1, 1), np.float16))
        made_by = {"section": section, "weights_sha256": {"autoencoder": "00", "diffusion": weights}}
        pack(journal, name, folder / f"{name}.json", {**made_by, "precision": "32-true", "device": device, "versions": {"torch": "2"}})
    return folder / f"{name}.json"


def test_machines_may_differ_and_are_told_with_their_shards(tmp_path: Path) -> None:
    names = [("000000-000001", "CPU"), ("000002-000002", "GPU"), ("000003-000004", "CPU")]
    paths = [shard(tmp_path, name, device=device) for name, device in names]
    assert ShardSet(paths, GRID).sampling.steps == 50
    found = provenance(join(paths))
    assert found["weights_sha256"] == {"autoencoder": "00", "diffusion": "aa"}
    assert {machine["device"]: machine["shards"] for machine in found["made_on"]} == {
        "CPU": ["000000-000001", "000003-000004"],
        "GPU": ["000002-000002"],
    }


def test_shards_of_other_weights_are_not_joined(tmp_path: Path) -> None:
    paths = [shard(tmp_path, "000000-000001"), shard(tmp_path, "000002-000003"), shard(tmp_path, "000004-000005", weights="bb")]
    expected = (
        r"000000-000001\.json and \S*000004-000005\.json: expected shards of one dataset, "
        r"found other weights_sha256\.diffusion \(aa and bb\); remove"
    )
    for read in (join, lambda manifests: ShardSet(manifests, GRID)):
        with pytest.raises(DataError, match=expected):
            read(paths)


def test_shards_that_an_earlier_run_left_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A larger run of other weights, then a smaller one, and one more row asked for: its last shard has another name."""
    older = [shard(tmp_path, name, weights="bb") for name in ("000000-000001", "000002-000003", "000004-000005", "000006-000006")]
    newer = [shard(tmp_path, name) for name in ("000000-000001", "000002-000002", "000002-000003")]
    for place, path in enumerate([*older[1:], *newer]):
        os.utime(path, ns=(place, place))
    with pytest.raises(DataError, match="expected shards of one dataset"):
        join(sorted({*older, *newer}))
    assert current({*older, *newer}) == [newer[0], newer[2]]
    assert "left out: 000002-000002, 000004-000005, 000006-000006" in caplog.text


def test_shards_of_other_settings_are_not_joined(tmp_path: Path) -> None:
    paths = [shard(tmp_path, "000000-000001"), shard(tmp_path, "000002-000003", steps=20, guidance=2.0)]
    with pytest.raises(DataError, match=r"section\.section\.steps \(50 and 20\), section\.section\.guidance \(None and 2\.0\)"):
        join(paths)
