import hashlib
from pathlib import Path

import numpy as np
import pytest

from brainldm.formats.torrent import bencode, write_torrent

lt = pytest.importorskip("libtorrent", reason="libtorrent is not installed")
PIECE = 1 << 14


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Files shorter, as long as and longer than a piece, one of them empty, in folders whose order differs from their paths'."""
    folder = tmp_path_factory.mktemp("torrent") / "data"
    sizes = {"a-b/one": 100, "a/two": PIECE, "a.txt": 0, "b/c/three": 5 * PIECE + 17, ".hidden": PIECE - 100, "z": (1 << 20) + 3, "B": 9}
    for number, (name, size) in enumerate(sizes.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(np.random.default_rng(number).bytes(size))
    return folder


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_the_infohash_is_libtorrents(dataset: Path, tmp_path: Path) -> None:
    infohash = write_torrent(tmp_path / "t.torrent", dataset, files(dataset), "data", PIECE)
    ordered = sorted(files(dataset), key=lambda path: path.relative_to(dataset).parts)
    entries = [lt.create_file_entry(str(Path("data") / path.relative_to(dataset)), path.stat().st_size) for path in ordered]
    theirs = lt.create_torrent(entries, PIECE, lt.create_torrent.v1_only)
    lt.set_piece_hashes(theirs, str(dataset.parent))
    info = theirs.generate()[b"info"]
    assert hashlib.sha1(lt.bencode(info)).hexdigest() == infohash
    assert (tmp_path / "t.torrent").read_bytes() == lt.bencode({b"info": info})
    assert str(lt.load_torrent_file(str(tmp_path / "t.torrent")).info_hashes.v1) == infohash


def test_neither_time_nor_order_nor_place_changes_a_byte(dataset: Path, tmp_path: Path) -> None:
    write_torrent(tmp_path / "a.torrent", dataset, files(dataset), "data", PIECE)
    write_torrent(tmp_path / "elsewhere" / "b.torrent", dataset, files(dataset)[::-1], "data", PIECE)
    assert (tmp_path / "a.torrent").read_bytes() == (tmp_path / "elsewhere" / "b.torrent").read_bytes()


def test_bencode_agrees_with_libtorrent() -> None:
    value = {b"b": [1, -5, b"x", []], b"a": {b"\xff": 2**40, b"": b""}}
    assert bencode(value) == lt.bencode(value)
    assert bencode({"ü": "é"}) == lt.bencode({"ü".encode(): "é".encode()})
    with pytest.raises(TypeError):
        bencode(1.5)
