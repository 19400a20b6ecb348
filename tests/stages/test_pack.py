"""A packed shard opens with WebDataset and unpacks to BIDS, its hashes are its own, and a kill changes no byte of it."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from held import held_command
from release_files import SHARDS, digests, make_results, make_shard, pack_all, pack_args

from brainldm.core.errors import DataError
from brainldm.formats.packs import read_pack


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    results = make_results(tmp_path_factory.mktemp("results"))
    pack_all(results)
    return results


def test_webdataset_finds_volume_and_sidecar_of_every_row(packed: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    tars = [str(packed / "pack" / f"{shard}.tar") for shard in SHARDS]
    samples = list(webdataset.WebDataset(tars, shardshuffle=False))
    table = pd.concat([pd.read_parquet(tar.replace(".tar", ".parquet")) for tar in tars], ignore_index=True)
    assert len(samples) == len(table) == 10
    for sample, row in zip(samples, table.itertuples(), strict=True):
        assert hashlib.sha256(sample["nii.gz"]).hexdigest() == row.sha256
        assert json.loads(sample["json"])["participant_id"] == row.participant_id


def test_an_offset_leads_to_the_volume_and_the_tar_to_whole_pieces(packed: Path) -> None:
    for shard in SHARDS:
        tar, pack = (packed / "pack" / f"{shard}.tar").read_bytes(), read_pack(packed / "pack" / f"{shard}.json")
        for row in pd.read_parquet(packed / "pack" / f"{shard}.parquet").itertuples():
            assert hashlib.sha256(tar[row.tar_offset :][: row.n_bytes]).hexdigest() == row.sha256
        assert len(tar) % 16384 == 0
        assert len(pack["pieces"]) == 40 * len(tar) // 16384
        assert hashlib.sha256(tar).hexdigest() == pack["sha256"]


def test_a_shard_that_is_killed_while_packing_is_the_same_when_packed_again(tmp_path: Path) -> None:
    shard = "000000-000119"
    results = make_results(tmp_path, [shard])
    names = ("--section", "--request", "--shard", "--measure", "--out")
    options = [word for pair in zip(names, map(str, pack_args(results, shard)), strict=True) for word in pair]
    command = [sys.executable, "-m", "brainldm", "pack", *options]
    with subprocess.Popen(held_command(command, tmp_path / "hold", f"{shard}.json")) as process:
        while not list((results / "pack").glob(".tmp*")):
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    assert not (results / "pack" / f"{shard}.json").exists()
    subprocess.run(command, check=True)
    again = digests(results / "pack")
    assert len(again) == 3, "what the killed run left is gone"
    make_results(tmp_path / "other", [shard])
    pack_all(tmp_path / "other", [shard])
    assert digests(tmp_path / "other" / "pack") == again


def test_a_damaged_shard_and_tables_that_disagree_are_named(tmp_path: Path) -> None:
    shard = SHARDS[1]
    results = make_results(tmp_path, [shard])
    path = results / "measure" / f"{shard}.parquet"
    table = pd.read_parquet(path)
    table[:2].to_parquet(path, index=False)
    with pytest.raises(DataError, match=rf"measure.*{shard}\.parquet: expected the rows of .* only there: \[9\]"):
        pack_all(results, [shard])
    pd.concat([table, table[:1]]).to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"found twice: \[7\]"):
        pack_all(results, [shard])
    make_shard(results, shard)
    row = json.loads((results / "generate" / f"{shard}.json").read_text())["rows"][1]
    with (results / "generate" / f"{shard}.tar").open("r+b") as tar:
        tar.seek(row["tar_offset"] + 40)
        tar.write(b"damage")
    with pytest.raises(DataError, match=rf"{shard}\.tar: row 8"):
        pack_all(results, [shard])
    assert not list((results / "pack").iterdir())
