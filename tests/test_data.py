"""A release feeds a training: the same volumes from files, tars and HTTP, in worker processes too."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from release_files import GRID, make_results, pack_all, release
from torch.utils.data import DataLoader
from web import serve

from brainldm.core.errors import DataError
from brainldm.data import BrainLDMDataset
from brainldm.formats.nifti import SLOPE, quantise


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Path]:
    folders = {}
    for packaging in ("files", "tars"):
        results = make_results(tmp_path_factory.mktemp(packaging), packaging=packaging)
        pack_all(results)
        folders[packaging] = release(results)
    return folders


def check(place, shape=GRID.shape) -> None:
    found = BrainLDMDataset(place)
    assert len(found) == 10
    for index in (0, 8):
        item = found[index]
        expected = quantise(np.random.default_rng(index).random(shape)) * np.float32(SLOPE)
        assert item["image"].dtype == torch.float32
        assert np.array_equal(item["image"][0].numpy(), expected)
        assert item["covariates"].tolist() == pytest.approx(
            [index % 2, item["row"]["age_years"], item["row"]["ventricles_ml"], item["row"]["brain_ml"]]
        )


@pytest.mark.parametrize("packaging", ["files", "tars"])
def test_the_volumes_are_those_that_were_packed(made, packaging: str) -> None:
    check(made[packaging])
    with serve(made[packaging]) as (url, _):
        check(url)


def test_a_loader_with_processes_gets_every_row_once(made) -> None:
    found = BrainLDMDataset(made["tars"], where="sex == 'F'", transform=lambda item: (item["row"]["index"], item["image"]))
    batches = list(DataLoader(found, batch_size=2, num_workers=2))
    assert torch.cat([index for index, _ in batches]).tolist() == [0, 2, 4, 6, 8]
    assert batches[0][1].shape == (2, 1, *GRID.shape)


def test_a_damaged_volume_is_named(made, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made["tars"], tmp_path / "release"))
    tar = folder / "shards/000000-000006.tar"
    found = BrainLDMDataset(folder)
    content = bytearray(tar.read_bytes())
    content[int(found.table["tar_offset"][2]) + 99] ^= 1
    tar.write_bytes(content)
    found[1]
    with pytest.raises(DataError, match=r"shards/000000-000006\.tar: row 2: expected SHA-256"):
        found[2]
