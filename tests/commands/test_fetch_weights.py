"""Weights arrive whole over connections that break, under their name only with the right hash; nothing else is accepted."""

import hashlib
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from web import serve

from brainldm.commands import fetch_weights
from brainldm.core.errors import DataError, OutputError
from brainldm.formats import transfers

CONTENT = random.Random(0).randbytes(1_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def made(tmp_path, monkeypatch) -> Path:
    """A folder to serve, with the one file of a table."""
    (tmp_path / "there").mkdir()
    (tmp_path / "there/net.h5").write_bytes(CONTENT)
    monkeypatch.setattr(transfers.time, "sleep", lambda seconds: None)
    return tmp_path / "there"


def listed(monkeypatch, tmp_path: Path, url: str, digest: str) -> None:
    (tmp_path / "weights.tsv").write_text(f"name\tn_bytes\tdigest\turl\nnet.h5\t\t{digest}\t{url}/net.h5\n")
    monkeypatch.setattr(fetch_weights, "TABLE", tmp_path / "weights.tsv")


@pytest.mark.parametrize("digest", [f"sha256:{SHA256}", f"md5:{hashlib.md5(CONTENT).hexdigest()}"])
def test_a_file_of_the_table_arrives(digest, made, monkeypatch, tmp_path) -> None:
    with serve(made) as (url, server):
        listed(monkeypatch, tmp_path, url, digest)
        fetch_weights.main(["net.h5"], tmp_path / "here")
        fetch_weights.main(["net.h5"], tmp_path / "here")  # is there
        assert server.n_sent == len(CONTENT)
    assert (tmp_path / "here/net.h5").read_bytes() == CONTENT
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["net.h5"]


@pytest.mark.parametrize("n_there", [0, 123_456, 1_000_000])
def test_a_connection_that_breaks_goes_on_where_it_broke(n_there, made, tmp_path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/net.h5.part").write_bytes(CONTENT[:n_there])
    with serve(made, breaks_after=300_000) as (url, server):
        fetch_weights.main([f"{url}/net.h5"], tmp_path / "here", SHA256.upper())
        assert server.n_sent == len(CONTENT) - n_there
        assert server.n_requests == -(-server.n_sent // 300_000)
    assert (tmp_path / "here/net.h5").read_bytes() == CONTENT


def test_a_server_that_gives_no_parts_starts_anew(made, tmp_path) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here/net.h5.part").write_bytes(CONTENT[:1000])
    with serve(made, gives_parts=False) as (url, _server):
        fetch_weights.main([f"{url}/net.h5"], tmp_path / "here", SHA256)
    assert (tmp_path / "here/net.h5").read_bytes() == CONTENT


def test_a_killed_call_goes_on(made, tmp_path) -> None:
    """The real command in a process of its own, killed when it has a part of the file and waits for the next."""
    with serve(made, breaks_after=400_000, waits_after=1) as (url, server):
        words = [sys.executable, "-m", "brainldm", "fetch_weights", f"{url}/net.h5", "--to", tmp_path / "here", "--sha256", SHA256]
        running = subprocess.Popen([*map(str, words)], stderr=subprocess.DEVNULL)
        while not (tmp_path / "here/net.h5.part").exists():
            assert running.poll() is None
            os.sched_yield()
        running.send_signal(signal.SIGKILL)
        running.wait()
        server.goes_on.set()
        assert not (tmp_path / "here/net.h5").exists()
        fetch_weights.main([f"{url}/net.h5"], tmp_path / "here", SHA256)
    assert (tmp_path / "here/net.h5").read_bytes() == CONTENT


def test_another_hash_is_refused_and_nothing_is_kept(made, monkeypatch, tmp_path) -> None:
    with serve(made) as (url, _server):
        listed(monkeypatch, tmp_path, url, f"sha256:{SHA256}")
        with pytest.raises(DataError, match=rf"^{url}/net\.h5: expected net\.h5 with sha256 0{{64}}, found 1000000 bytes with {SHA256}$"):
            fetch_weights.main(["net.h5"], tmp_path / "here", "0" * 64)
        assert list((tmp_path / "here").iterdir()) == []
        (tmp_path / "here/net.h5").write_bytes(b"another")
        with pytest.raises(DataError, match=r"here/net\.h5: there is another file.*or add --overwrite to replace it; expected net\.h5"):
            fetch_weights.main(["net.h5"], tmp_path / "here")
        assert (tmp_path / "here/net.h5").read_bytes() == b"another"
        fetch_weights.main(["net.h5"], tmp_path / "here", overwrite=True)
    assert (tmp_path / "here/net.h5").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("names", "sha256", "said"),
    [
        (["http://127.0.0.1:9/x.h5"], None, r"x\.h5: expected a file and --sha256 with its hash"),
        (["x.h5"], None, r"^x\.h5: expected one of synthseg_2\.0\.h5, .*, or a URL and --sha256, found neither"),
        (["synthseg_2.0.h5", "model.pt"], "0" * 64, r"^--sha256: expected one file that it is the hash of, found 2"),
        (["http://127.0.0.1:9/x.h5"], "0" * 64, r"x\.h5: it stops after 0 bytes"),
    ],
)
def test_what_cannot_be_fetched_is_said(names, sha256, said, tmp_path) -> None:
    with pytest.raises(DataError, match=said):
        fetch_weights.main(names, tmp_path / "here", sha256)


def test_a_file_that_the_server_has_not_is_said_at_once(made, tmp_path) -> None:
    with serve(made) as (url, server):
        with pytest.raises(DataError, match=r"other\.h5: the server answers with status 404"):
            fetch_weights.main([f"{url}/other.h5"], tmp_path / "here", SHA256)
        assert server.n_refused == 1  # it is not tried again


def test_the_table_is_sound(capsys) -> None:
    fetch_weights.main([])
    _, *rows = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert {"synthseg_2.0.h5", "resnet_50_23dataset.pth", "autoencoder.pt", "model.pt"} <= {name for name, *_ in rows}
    for _, _, digest, url in rows:
        kind, _, value = digest.partition(":")
        assert len(bytes.fromhex(value)) == {"sha256": 32, "md5": 16}[kind]
        assert url.startswith("https://")


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_link_leads_a_download_elsewhere(made, overwrite, tmp_path) -> None:
    (tmp_path / "victim").write_bytes(b"the only copy")
    (tmp_path / "here").mkdir()
    (tmp_path / "here/net.h5.part").symlink_to(tmp_path / "victim")
    with serve(made) as (url, _server):
        with pytest.raises(OutputError, match=r"net\.h5\.part: it is no regular file"):
            fetch_weights.main([f"{url}/net.h5"], tmp_path / "here", SHA256, overwrite=overwrite)
        (tmp_path / "here/net.h5.part").unlink()
        (tmp_path / "here/net.h5").symlink_to(tmp_path / "victim")
        if not overwrite:
            with pytest.raises(OutputError, match=r"net\.h5: it is a link to"):
                fetch_weights.main([f"{url}/net.h5"], tmp_path / "here", SHA256)
        else:
            fetch_weights.main([f"{url}/net.h5"], tmp_path / "here", SHA256, overwrite=True)
            assert not (tmp_path / "here/net.h5").is_symlink()
            assert (tmp_path / "here/net.h5").read_bytes() == CONTENT
    assert (tmp_path / "victim").read_bytes() == b"the only copy"
