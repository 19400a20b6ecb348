"""A release of tars: real clients download it, real readers open it, and unpacked it is plain BIDS."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from release_files import digests, make_results, pack_all, release

SHA256SUM = ["sha256sum", "--check", "--strict", "--quiet", "checksums.sha256"]
SEEDS = ["http://127.0.0.1:9/data/"]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    results = make_results(tmp_path_factory.mktemp("results"), packaging="tars", sample=3, web_seeds=SEEDS)
    pack_all(results)
    release(results, sample=True)
    return results


def unpacked(release: Path, folder: Path) -> Path:
    shutil.copytree(release, folder)
    subprocess.run("cat shards/*.tar | tar -xif -", shell=True, cwd=folder, check=True)  # as the README says
    return folder


def test_the_bids_validator_finds_no_error_in_the_unpacked_release_and_in_the_sample(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("bids_validator_deno", reason="bids-validator-deno is not installed")
    for folder, subjects in ((unpacked(made / "release", tmp_path / "all"), 10), (made / "release-sample", 3)):
        command = [Path(sys.executable).with_name("bids-validator-deno"), folder, "--max-rows=-1", "--format", "json"]
        accepted = subprocess.run(command, capture_output=True, text=True)
        assert accepted.returncode == 0, accepted.stdout
        assert len(json.loads(accepted.stdout)["summary"]["subjects"]) == subjects


def test_unpacked_it_holds_what_a_release_of_files_does(made: Path, tmp_path: Path) -> None:
    results = make_results(tmp_path / "files")
    pack_all(results)
    ours = digests(unpacked(made / "release", tmp_path / "all"))
    theirs = digests(release(results))
    volumes = {name for name in theirs if name.startswith("sub-")}
    assert len(volumes) == 20
    assert {name: ours[name] for name in volumes} == {name: theirs[name] for name in volumes}


def test_made_again_it_is_the_same(made: Path) -> None:
    before, sample = digests(made / "release"), digests(made / "release-sample")
    assert digests(release(made, sample=True)) == before
    assert digests(made / "release-sample") == sample


def test_pandas_polars_and_duckdb_read_the_table(made: Path) -> None:
    polars, duckdb = pytest.importorskip("polars"), pytest.importorskip("duckdb")
    path = made / "release" / "covariates.parquet"
    table = pd.read_parquet(path)
    assert polars.read_parquet(path)["sha256"].to_list() == table["sha256"].tolist()
    found = duckdb.sql(f"select sex, count(*), min(tar_offset) from '{path}' where measured_ventricles_ml > 0 group by sex order by sex")
    assert found.fetchall() == [(sex, 5, int(group["tar_offset"].min())) for sex, group in table.groupby("sex")]
    tar = (made / "release" / "shards" / f"{table['shard'][8]}.tar").read_bytes()
    volume = tar[int(table["tar_offset"][8]) :][: int(table["n_bytes"][8])]
    assert hashlib.sha256(volume).hexdigest() == table["sha256"][8]


def test_the_infohash_is_libtorrents_and_the_shards_come_first(made: Path, tmp_path: Path) -> None:
    lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")
    (tmp_path / "tiny-1").symlink_to(made / "release")
    ours = lt.load_torrent_file(str(made / "release" / "tiny-1.torrent"))
    names = [ours.ti.layout().file_path(place) for place in range(ours.ti.num_files())]
    assert [name for name in names if name.endswith(".tar")] == names[:2]
    assert set(names) == {f"tiny-1/{name}" for name in digests(made / "release")} - {"tiny-1/tiny-1.torrent"}
    theirs = lt.create_torrent(
        [lt.create_file_entry(name, (tmp_path / name).stat().st_size) for name in names], 16384, lt.create_torrent.v1_only
    )
    lt.set_piece_hashes(theirs, str(tmp_path))
    assert hashlib.sha1(lt.bencode(theirs.generate()[b"info"])).hexdigest() == str(ours.info_hashes.v1)
    assert ours.url_seeds == SEEDS


def session(libtorrent, port: int = 0):
    """A client on loopback only; uTP is off because it crawls there."""
    off = ("enable_dht", "enable_lsd", "enable_upnp", "enable_natpmp", "enable_outgoing_utp", "enable_incoming_utp")
    return libtorrent.session(
        {"listen_interfaces": f"127.0.0.1:{port}", "allow_multiple_connections_per_ip": True, **dict.fromkeys(off, False)}
    )


def add(client, libtorrent, torrent: Path, folder: Path):
    parameters = libtorrent.load_torrent_file(str(torrent))
    parameters.url_seeds = []  # nothing of a test leaves this machine
    parameters.save_path = str(folder)
    parameters.flags &= ~(libtorrent.torrent_flags.auto_managed | libtorrent.torrent_flags.paused)
    return client.add_torrent(parameters)


def wait(condition, seconds: float = 300) -> None:
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


FIRST_PORT, LAST_PORT = 16881, 16890


@pytest.mark.skipif(shutil.which("aria2c") is None, reason="aria2 is not installed")
def test_aria2_downloads_the_whole_release(made: Path, seed, tmp_path: Path) -> None:
    _, _, handle, torrent = seed
    ports = range(FIRST_PORT, LAST_PORT + 1)  # aria2 takes the first that is free, whatever else runs on this machine
    off = [f"--{option}=false" for option in ("enable-dht", "enable-dht6", "bt-enable-lpd", "enable-peer-exchange")]
    options = ["--no-conf", "--disable-ipv6", "--interface=127.0.0.1", "--file-allocation=none", "--seed-time=0", "--quiet", *off]
    content = torrent.read_bytes()  # less the web seed, at which nobody answers: aria2 gives up when it is refused
    (tmp_path / "t.torrent").write_bytes(content[: content.rindex(b"8:url-list")] + b"e")
    command = [
        "aria2c",
        *options,
        f"--dir={tmp_path / 'aria2'}",
        f"--listen-port={FIRST_PORT}-{LAST_PORT}",
        os.fspath(tmp_path / "t.torrent"),
    ]
    with subprocess.Popen(command) as client:
        try:
            wait(lambda: any(handle.connect_peer(("127.0.0.1", port)) for port in ports) or client.poll() is not None)
        finally:
            client.kill()
    assert client.returncode == 0
    check_arrival(tmp_path / "aria2" / "tiny-1", made)
