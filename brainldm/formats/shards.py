"""Shards of finished volumes: a row journal that survives a kill, and the deterministic tar that the rows are packed into."""

import fcntl
import hashlib
import json
import logging
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict, cast

import numpy as np

from brainldm.core.errors import DataError
from brainldm.core.files import atomic, read_json, sha256, write_json, write_text
from brainldm.core.grid import Grid
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.bids import volume_path
from brainldm.formats.nifti import decode_volume, write_bytes

_JOURNAL = "journal.jsonl"


class Row(TypedDict):
    """A finished volume: `path` is its place in the tar and in the dataset, `tar_offset` where its bytes begin in the tar."""

    index: int
    participant_id: str
    path: str
    sha256: str
    n_bytes: int
    tar_offset: int
    voxel_sha256: str


class Manifest(TypedDict):
    """What stands beside a shard's tar: its rows in order, and what made them."""

    shard: str
    rows: list[Row]
    provenance: dict[str, Any]


@dataclass(frozen=True)
class Journal:
    """A shard's work folder, held under a lock; `finished` are the rows that an earlier run left whole."""

    folder: Path
    finished: frozenset[int]


def fingerprint(**parts: Any) -> str:
    """SHA-256 of everything that a shard's bytes depend on, given as JSON values."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@contextmanager
def open_journal(folder: Path, identity: str) -> Iterator[Journal]:
    """Take up the work in `folder`: rows whose file is torn, unknown or of another `identity` are removed, to be redone.

    `identity` is the `fingerprint` of the work. The lock lies beside the folder and dies with its process; DataError if
    another one holds it.
    """
    with _locked(folder.with_name(f"{folder.name}.lock")):
        folder.mkdir(exist_ok=True)
        rows = _whole_rows(folder, identity)
        kept = {_file(folder, row["index"]) for row in rows}
        for path in set(folder.iterdir()) - kept:
            path.unlink()
        write_text(folder / _JOURNAL, "".join(json.dumps(line) + "\n" for line in ({"identity": identity}, *rows)))
        yield Journal(folder, frozenset(row["index"] for row in rows))


def commit(journal: Journal, index: int, content: bytes, voxels: str) -> None:
    """Keep the finished volume of a row: `content` is its .nii.gz, `voxels` its `voxel_sha256`. It is on disk on return."""
    who = participant_id(index)
    digest = hashlib.sha256(content).hexdigest()
    row = Row(
        index=index,
        participant_id=who,
        path=volume_path(who),
        sha256=digest,
        n_bytes=len(content),
        tar_offset=-1,  # not yet in a tar
        voxel_sha256=voxels,
    )
    write_bytes(_file(journal.folder, index), content)
    with (journal.folder / _JOURNAL).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(row) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def pack(journal: Journal, shard: str, out: Path, provenance: dict[str, Any]) -> None:
    """Write the shard's tar beside its manifest `out` (.json), then the manifest; DataError if a row is missing.

    The tar is USTAR with members in order and neither time nor owner, so equal rows make equal bytes.
    """
    found = {row["index"]: row for row in list(_lines(journal.folder))[1:]}
    missing = [index for index in shard_rows(shard) if index not in found]
    if missing:
        raise DataError(f"{journal.folder}: expected every row of shard {shard}, found none for {missing}")
    rows: list[Row] = [found[index] for index in shard_rows(shard)]
    with atomic(out.with_suffix(".tar")) as temporary, temporary.open("wb") as tar:
        packed = [_append(tar, row, _file(journal.folder, row["index"])) for row in rows]
        tar.write(bytes(2 * tarfile.BLOCKSIZE))
        tar.write(bytes(-tar.tell() % tarfile.RECORDSIZE))
    write_json(out, Manifest(shard=shard, rows=packed, provenance=provenance))


def discard(journal: Journal) -> None:
    """Remove the work folder, once the shard is packed; the lock file stays, or two workers could hold two of them."""
    shutil.rmtree(journal.folder)


def read_manifest(path: Path) -> Manifest:
    """Read a shard's manifest; DataError unless it holds every row of its shard once and in order."""
    manifest = cast(Manifest, read_json(path))
    if not _has_keys(manifest, Manifest) or not all(_has_keys(row, Row) for row in manifest["rows"]):
        raise DataError(f"{path}: expected a shard's manifest with {', '.join(Manifest.__annotations__)}, found another JSON file")
    found, expected = [row["index"] for row in manifest["rows"]], list(shard_rows(manifest["shard"]))
    if found != expected:
        raise DataError(f"{path}: expected the {len(expected)} rows of shard {manifest['shard']} in order, found {found}")
    return manifest


def read_member(path: Path, row: Row) -> bytes:
    """The .nii.gz of a row, from the tar beside the manifest `path`; DataError, naming shard and row, if it is not what it was."""
    tar = path.with_suffix(".tar")
    try:
        with tar.open("rb") as handle:
            handle.seek(row["tar_offset"])
            content = handle.read(row["n_bytes"])
    except OSError as error:
        raise DataError(f"{tar}: expected the shard's tar, found none that can be read ({error.strerror})") from None
    return _checked(content, row, tar)


def iterate_volumes(path: Path, grid: Grid) -> Iterator[tuple[Row, np.ndarray]]:
    """Every row of the shard with manifest `path`, and its volume as float32 [I, J, K]; hashes and grid are checked."""
    for row in read_manifest(path)["rows"]:
        yield row, decode_volume(read_member(path, row), grid, f"{path.with_suffix('.tar')}: row {row['index']}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{path}: expected to be this shard's only worker, found another one at work") from None
        yield


def _has_keys(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and set(kind.__annotations__) <= set(value)


def _file(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.nii.gz"


def _lines(folder: Path) -> Iterator[Any]:
    """The journal's lines: its identity, then rows; a line torn by a kill ends them."""
    with suppress(FileNotFoundError, ValueError):
        for text in (folder / _JOURNAL).read_text(encoding="utf-8").splitlines():
            yield json.loads(text)


def _whole_rows(folder: Path, identity: str) -> list[Row]:
    lines = list(_lines(folder))
    if lines and lines[0] != {"identity": identity}:
        logging.warning("%s: begun with another section, weights or request; its %d rows are redone", folder, len(lines) - 1)
        return []
    rows = {row["index"]: row for row in lines[1:]}
    return [row for index, row in rows.items() if _file(folder, index).is_file() and sha256(_file(folder, index)) == row["sha256"]]


def _append(tar: Any, row: Row, file: Path) -> Row:
    content = _checked(file.read_bytes(), row, file)
    member = tarfile.TarInfo(row["path"])
    member.size = len(content)
    tar.write(member.tobuf(tarfile.USTAR_FORMAT))
    offset = tar.tell()
    tar.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return Row(**{**row, "tar_offset": offset})


def _checked(content: bytes, row: Row, file: Path) -> bytes:
    digest = hashlib.sha256(content).hexdigest()
    if digest != row["sha256"]:
        expected, found = f"{row['n_bytes']} bytes with SHA-256 {row['sha256']}", f"{len(content)} with {digest}"
        raise DataError(f"{file}: row {row['index']}: expected {expected}, found {found}")
    return content
