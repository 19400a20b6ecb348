import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import yaml

from brainldm.core.columns import REACH
from brainldm.core.config import parse, section_json
from brainldm.core.errors import DataError
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256
from brainldm.formats.shards import commit, open_journal, pack, read_manifest
from brainldm.stages.release import main

CONFIG = {
    **yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text()),
    "grid": {"shape": [12, 14, 12], "spacing_mm": 12.0, "center_mm": [0, -17, 6]},
    "release": {"name": "tiny-1", "license": "CC0-1.0", "skull_stripped": True, "piece_length": 16384},
}
GRID = parse(CONFIG).grid
SHARDS = ("000000-000006", "000007-000009")
REPORT = {"n_synthetic": 10, "audit": "no copies found", "window": "7, two scales"}
REPORT |= {"ventricles_r": 0.98123, "ventricles_r_ci": [0.97, 0.99]}
MADE_BY = {"section": {"seed": 1}, "weights_sha256": {"autoencoder": "0"}, "device": "CPU"}
MADE_BY |= {"precision": "32-true", "versions": {"torch": "2"}}
SHA256SUM = ["sha256sum", "--check", "--strict", "--quiet", "checksums.sha256"]


def make_shard(results: Path, shard: str) -> None:
    """Requests, volumes and measurements of one shard, as the stages before leave them."""
    rows = shard_rows(shard)
    drawn = np.random.default_rng(rows[0]).normal([60, 40, 1500], [8, 15, 90], (len(rows), 3)).astype(np.float32)
    frame = pd.DataFrame(drawn, columns=["age_years", "ventricles_ml", "brain_ml"])
    identity = {"index": rows, "participant_id": [participant_id(index) for index in rows]}
    requested = frame.assign(**identity, seed=1, sex=["FM"[index % 2] for index in rows], in_support=True, design="uniform")
    requested = requested.assign(noise_index=rows, support_distance=0.5, cell="")
    measured = pd.DataFrame({**identity, "ventricles_ml": frame["ventricles_ml"] + 1.0, "brain_ml": frame["brain_ml"], "icv_ml": 1600.0})
    passed = [index != 3 for index in rows]
    measured = measured.assign(age_predicted_years=61.5, csf_ml=9.0, qc_pass=passed, qc_reason=["" if ok else "empty" for ok in passed])
    for stage, table in (("request", requested), ("measure", measured)):
        (results / stage).mkdir(parents=True, exist_ok=True)
        table.to_parquet(results / stage / f"{shard}.parquet", index=False)
    with open_journal(results / "generate" / "work" / shard, "tiny") as journal:
        for index in rows:
            counts = quantise(np.random.default_rng(index).random(GRID.shape))
            commit(journal, index, encode_volume(counts, GRID, "SYNTHETIC"), voxel_sha256(counts), np.zeros((3, 1, 1, 1), np.float16))
        pack(journal, shard, results / "generate" / f"{shard}.json", MADE_BY)


def inputs(results: Path) -> tuple[list[Path], list[Path], list[Path]]:
    return tuple([results / stage / f"{shard}.{kind}" for shard in SHARDS] for stage, kind in FILES)


FILES = (("request", "parquet"), ("generate", "json"), ("measure", "parquet"))


def release(results: Path) -> Path:
    main(results / "release.json", *inputs(results), results / "report.json", results / "release" / "checksums.sha256")
    return results / "release"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A results folder with a release, made by the command line."""
    results = tmp_path_factory.mktemp("results")
    for shard in SHARDS:
        make_shard(results, shard)
    (results / "release.json").write_text(section_json(parse(CONFIG), "release"))
    (results / "report.json").write_text(json.dumps(REPORT))
    options = ["--section", results / "release.json", "--report", results / "report.json"]
    for option, paths in zip(("--request", "--shard", "--measure"), inputs(results), strict=True):
        options += [word for path in paths for word in (option, path)]
    command = [sys.executable, "-m", "brainldm", "release", *options, "--out", results / "release" / "checksums.sha256"]
    subprocess.run(command, check=True)
    return results


@pytest.fixture
def results(made: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(made, tmp_path / "results"))


def digests(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_volumes_are_the_shards_own(made: Path) -> None:
    volumes = sorted((made / "release").glob("sub-*/anat/*_T1w.nii.gz"))
    assert len(volumes) == 10
    packed = {}
    for shard in SHARDS:
        with tarfile.open(made / "generate" / f"{shard}.tar") as tar:
            packed |= {member.name: tar.extractfile(member).read() for member in tar.getmembers()}
    assert {str(path.relative_to(made / "release")): path.read_bytes() for path in volumes} == packed
    image = nib.load(volumes[0])
    assert np.allclose(image.affine, GRID.affine)
    assert image.shape == GRID.shape


def test_sha256sum_accepts_every_file_and_finds_a_flipped_byte(made: Path, results: Path) -> None:
    folder = results / "release"
    listed = {line[66:] for line in (folder / "checksums.sha256").read_text().splitlines()}
    assert listed == set(digests(folder)) - {"checksums.sha256", "tiny-1.torrent"}
    subprocess.run(SHA256SUM, cwd=folder, check=True)
    volume = folder / "sub-000002" / "anat" / "sub-000002_T1w.nii.gz"
    content = bytearray(volume.read_bytes())
    content[50] ^= 1
    volume.write_bytes(content)
    refused = subprocess.run(SHA256SUM, cwd=folder, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "sub-000002_T1w.nii.gz: FAILED" in refused.stdout


def test_the_table_joins_what_was_requested_measured_and_stored(made: Path) -> None:
    table = pd.read_parquet(made / "release" / "covariates.parquet")
    assert table["index"].tolist() == list(range(10))
    assert np.allclose(table["measured_ventricles_ml"], table["ventricles_ml"] + 1)
    assert table["qc_pass"].tolist() == [index != 3 for index in range(10)]
    assert table["shard"].tolist() == [SHARDS[0]] * 7 + [SHARDS[1]] * 3
    files = digests(made / "release")
    assert [files[path] for path in table["path"]] == table["sha256"].tolist()
    request = pd.concat([pd.read_parquet(path) for path in inputs(made)[0]], ignore_index=True)
    assert (table[request.columns] == request).all(axis=None), "requested values must be exact: rows are regenerated from them"
    schema = pq.read_schema(made / "release" / "covariates.parquet")
    units = {field.name: field.metadata[b"unit"].decode() for field in schema if b"unit" in field.metadata}
    assert {name: unit for name, unit in units.items() if unit not in ("mL", REACH)} == {
        "age_years": "year",
        "age_predicted_years": "year",
        "n_bytes": "byte",
    }
    assert {name for name in schema.names if name.endswith("_ml")} == {name for name, unit in units.items() if unit == "mL"}
    assert json.loads(schema.field("sex").metadata[b"levels"]) == {"F": "female", "M": "male"}


def test_every_participants_column_is_described(made: Path) -> None:
    table = pd.read_csv(made / "release" / "participants.tsv", sep="\t", dtype=str, keep_default_na=False)
    sidecar = json.loads((made / "release" / "participants.json").read_text())
    assert list(table.columns[:3]) == ["participant_id", "age", "sex"]
    assert set(table.columns) - {"participant_id"} == set(sidecar) - {"Description"}
    numbers = [name for name in table.columns if pd.to_numeric(table[name], errors="coerce").notna().all()]
    for name in table.columns[1:]:
        assert sidecar[name]["Description"]
        assert ("Units" in sidecar[name]) == (name in numbers)
        if "Levels" in sidecar[name]:
            assert set(table[name]) <= set(sidecar[name]["Levels"])
    assert table["qc_reason"].tolist() == ["n/a"] * 3 + ["empty"] + ["n/a"] * 6
    assert float(table["age"][0]) == pytest.approx(pd.read_parquet(made / "release" / "covariates.parquet")["age_years"][0])


def test_the_readme_tells_what_it_is_and_what_was_found(made: Path) -> None:
    text = (made / "release" / "README").read_text()
    assert "SYNTHETIC" in text
    assert "| ventricles_r | 0.9812 |" in text
    assert "| ventricles_r_ci | 0.97 to 0.99 |" in text
    assert json.loads((made / "release" / "dataset_description.json").read_text())["License"] == "CC0-1.0"


def test_the_real_bids_validator_finds_no_error(results: Path) -> None:
    pytest.importorskip("bids_validator_deno", reason="bids-validator-deno is not installed")
    validator = Path(sys.executable).with_name("bids-validator-deno")
    command = [validator, results / "release", "--max-rows=-1", "--format", "json"]
    accepted = subprocess.run(command, capture_output=True, text=True)
    found = json.loads(accepted.stdout)
    assert accepted.returncode == 0, accepted.stdout
    assert len(found["summary"]["subjects"]) == 10
    assert [issue["code"] for issue in found["issues"]["issues"]] == ["TOO_FEW_AUTHORS"]  # a warning: nobody is named
    (results / "release" / "T1w.json").unlink()
    assert subprocess.run(command, capture_output=True).returncode != 0, "a validator that accepts everything shows nothing"


def test_made_again_it_is_the_same_and_holds_nothing_stale(made: Path, results: Path) -> None:
    (results / "release" / "sub-000099").mkdir()
    (results / "release" / "sub-000099" / "stale.nii.gz").write_text("of an earlier run")
    assert digests(release(results)) == digests(made / "release")
    assert not (results / "release" / "sub-000099").exists()


def test_a_damaged_shard_is_named_and_the_old_release_stays(made: Path, results: Path) -> None:
    row = read_manifest(results / "generate" / f"{SHARDS[1]}.json")["rows"][1]
    with (results / "generate" / f"{SHARDS[1]}.tar").open("r+b") as tar:
        tar.seek(row["tar_offset"] + 40)
        tar.write(b"damage")
    with pytest.raises(DataError, match=rf"{SHARDS[1]}\.tar: row 8"):
        release(results)
    assert digests(results / "release") == digests(made / "release")
    assert not list(results.glob(".*"))


def test_tables_that_disagree_are_refused(results: Path) -> None:
    path = results / "measure" / f"{SHARDS[1]}.parquet"
    table = pd.read_parquet(path)
    table[:2].to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"measurements .* only in the shards: \[9\]"):
        release(results)
    pd.concat([table, table[:1]]).to_parquet(path, index=False)
    with pytest.raises(DataError, match=r"measurements .* found twice: \[7\]"):
        release(results)


def test_a_folder_of_other_files_is_not_replaced(results: Path) -> None:
    shutil.rmtree(results / "release")
    (results / "release").mkdir()
    (results / "release" / "thesis.tex").write_text("the only copy")
    with pytest.raises(DataError, match="found other files"):
        release(results)
    assert (results / "release" / "thesis.tex").read_text() == "the only copy"


def session(libtorrent, port: int = 0):
    """A client on loopback only; uTP is off because it crawls there."""
    off = ("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp", "enable_incoming_utp")
    return libtorrent.session(
        {"listen_interfaces": f"127.0.0.1:{port}", "allow_multiple_connections_per_ip": True, **dict.fromkeys(off, False)}
    )


def add(client, libtorrent, torrent: Path, folder: Path):
    parameters = libtorrent.load_torrent_file(str(torrent))
    parameters.save_path = str(folder)
    parameters.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
    return client.add_torrent(parameters)


def wait(condition, seconds: float = 30) -> None:
    limit = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < limit, "the client did not finish in time"
        time.sleep(0.05)


@pytest.fixture
def seed(made: Path, tmp_path: Path):
    """A real client that seeds the release: (libtorrent, session, handle, torrent file)."""
    libtorrent = pytest.importorskip("libtorrent", reason="libtorrent is not installed")
    (tmp_path / "seed").mkdir()
    (tmp_path / "seed" / "tiny-1").symlink_to(made / "release")
    client = session(libtorrent)
    handle = add(client, libtorrent, made / "release" / "tiny-1.torrent", tmp_path / "seed")
    wait(lambda: handle.status().is_seeding)
    return libtorrent, client, handle, made / "release" / "tiny-1.torrent"


def check_arrival(folder: Path, made: Path) -> None:
    subprocess.run(SHA256SUM, cwd=folder, check=True)
    assert digests(folder) == {name: digest for name, digest in digests(made / "release").items() if name != "tiny-1.torrent"}


def test_libtorrent_downloads_the_whole_release(made: Path, seed, tmp_path: Path) -> None:
    libtorrent, server, _, torrent = seed
    client = session(libtorrent)
    handle = add(client, libtorrent, torrent, tmp_path / "leech")
    handle.connect_peer(("127.0.0.1", server.listen_port()))
    wait(lambda: handle.status().is_seeding)
    client.pause()
    client.remove_torrent(handle)
    check_arrival(tmp_path / "leech" / "tiny-1", made)


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2 is not installed")
def test_aria2_downloads_the_whole_release(made: Path, seed, tmp_path: Path) -> None:
    _, _, handle, torrent = seed
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    off = [f"--{option}=false" for option in ("enable-dht", "enable-dht6", "bt-enable-lpd", "enable-peer-exchange")]
    options = ["--no-conf", "--disable-ipv6", "--interface=127.0.0.1", "--file-allocation=none", "--seed-time=0", "--quiet", *off]
    command = ["aria2c", *options, f"--dir={tmp_path / 'aria2'}", f"--listen-port={port}", os.fspath(torrent)]
    with subprocess.Popen(command) as client:
        try:
            wait(lambda: handle.connect_peer(("127.0.0.1", port)) or client.poll() is not None)
        finally:
            client.kill()
    assert client.returncode == 0
    check_arrival(tmp_path / "aria2" / "tiny-1", made)


def test_nothing_is_released_before_the_privacy_audit_has_passed(results: Path) -> None:
    shutil.rmtree(results / "release")
    (results / "report.json").write_text(json.dumps({**REPORT, "audit": "copies found"}))
    with pytest.raises(DataError, match="found 'copies found'; nothing is released"):
        release(results)
    assert not (results / "release").exists()
    written = {**CONFIG, "release": {**CONFIG["release"], "despite_audit": "the scans are public"}}
    (results / "release.json").write_text(section_json(parse(written), "release"))
    assert "the scans are public" in (release(results) / "README").read_text()
