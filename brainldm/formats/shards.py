"""Shards of finished volumes: a row journal that survives a kill, and the deterministic tar that the rows are packed into.

The latent of every row is kept in float16, in a safetensors file beside the tar: decoding again then needs no U-Net.
"""

import hashlib
import io
import json
import logging
import os
import shutil
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypedDict, cast

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from brainldm.core.errors import DataError
from brainldm.core.files import atomic, read_json, write_json, write_text
from brainldm.core.grid import Grid
from brainldm.core.locks import locked
from brainldm.core.printable import printable
from brainldm.core.regular_files import open_regular, size_of
from brainldm.core.rows import participant_id, shard_rows
from brainldm.formats.bids import volume_path
from brainldm.formats.nifti import decode_volume, write_bytes

LATENTS = ".safetensors"  # suffix of a shard's latents
_JOURNAL = "journal.jsonl"


class Row(TypedDict):
    """A finished volume: `path` is its place in the tar and in the dataset, `tar_offset` where its bytes begin in the tar.

    It is the draw number `attempt`, counted from 0; `rejected` says what was wrong with each before.
    """

    index: int
    participant_id: str
    path: str
    sha256: str
    n_bytes: int
    tar_offset: int
    voxel_sha256: str
    latent_sha256: str
    attempt: int
    rejected: list[str]


class Provenance(TypedDict):
    """What made a shard's rows: a generate section file, weights by their network, and what of the machine may change bits."""

    section: dict[str, Any]
    weights_sha256: dict[str, str]
    precision: str
    device: str
    versions: dict[str, str]


class Manifest(TypedDict):
    """What stands beside a shard's tar: its rows in order, and what made them."""

    shard: str
    rows: list[Row]
    provenance: Provenance


@dataclass(frozen=True)
class Journal:
    """A shard's work folder, held under a lock; `finished` are the rows that an earlier run left whole."""

    folder: Path
    finished: frozenset[int]


def fingerprint(**parts: Any) -> str:
    """SHA-256 of everything that a shard's bytes depend on, given as JSON values."""
    return _digest(json.dumps(parts, sort_keys=True).encode())


@contextmanager
def open_journal(folder: Path, identity: str) -> Iterator[Journal]:
    """Take up the work in `folder`: rows whose file is torn, unknown or of another `identity` are removed, to be redone.

    `identity` is the `fingerprint` of the work. The lock lies beside the folder and dies with its process; DataError if
    another one holds it.
    """
    with locked(folder.with_name(f"{folder.name}.lock")):
        folder.mkdir(exist_ok=True)
        rows = _whole_rows(folder, identity)
        kept = {_file(folder, row["index"]) for row in rows}
        for path in set(folder.iterdir()) - kept:
            path.unlink()
        write_text(folder / _JOURNAL, "".join(json.dumps(line) + "\n" for line in ({"identity": identity}, *rows)))
        yield Journal(folder, frozenset(row["index"] for row in rows))


def commit(journal: Journal, index: int, content: bytes, voxels: str, latent: np.ndarray, rejected: Sequence[str] = ()) -> None:
    """Keep a finished row: its .nii.gz, the `voxel_sha256` of it, and its latent, float16 [C,i,j,k]. It is on disk on return.

    `rejected` is what was wrong with earlier draws. May be called from several threads: a line is short enough to be appended by one write.
    """
    who, packed_latent = participant_id(index), io.BytesIO()
    np.save(packed_latent, latent)
    row = Row(
        index=index,
        participant_id=who,
        path=volume_path(who),
        sha256=_digest(content),
        n_bytes=len(content),
        tar_offset=-1,  # not yet in a tar
        voxel_sha256=voxels,
        latent_sha256=_digest(latent.tobytes()),
        attempt=len(rejected),
        rejected=list(rejected),
    )
    write_bytes(_file(journal.folder, index), content + packed_latent.getvalue())
    with (journal.folder / _JOURNAL).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(row) + "\n")
        handle.flush()
        os.fsync(handle.fileno())


def pack(journal: Journal, shard: str, out: Path, provenance: Provenance) -> None:
    """Write the shard's tar and latents beside its manifest `out` (.json), then the manifest; DataError if a row is missing.

    The tar is USTAR with members in order and neither time nor owner, so equal rows make equal bytes.
    """
    found = {row["index"]: row for row in list(_lines(journal.folder))[1:]}
    missing = [index for index in shard_rows(shard) if index not in found]
    if missing:
        raise DataError(f"{journal.folder}: expected every row of shard {shard}, found none for {missing}")
    rows: list[Row] = []
    latents: list[np.ndarray] = []
    with atomic(out.with_suffix(".tar")) as temporary, temporary.open("wb") as tar:
        for index in shard_rows(shard):
            content, latent = _contents(_file(journal.folder, index), found[index])
            rows.append(_append(tar, found[index], content))
            latents.append(latent)
        tar.write(bytes(2 * tarfile.BLOCKSIZE))
        tar.write(bytes(-tar.tell() % tarfile.RECORDSIZE))
    write_bytes(out.with_suffix(LATENTS), save({"latents": np.stack(latents)}))
    write_json(out, Manifest(shard=shard, rows=rows, provenance=provenance))


def discard(journal: Journal) -> None:
    """Remove the work folder, once the shard is packed; the lock file stays, or two workers could hold two of them."""
    shutil.rmtree(journal.folder)


def read_manifest(path: Path) -> Manifest:
    """Read a shard's manifest; DataError unless it holds every row of its shard once and in order."""
    manifest = cast(Manifest, read_json(path))
    if (
        not _has_keys(manifest, Manifest)
        or not isinstance(manifest["rows"], list)
        or not all(_has_keys(row, Row) for row in manifest["rows"])
    ):
        raise DataError(f"{path}: expected a shard's manifest with {', '.join(Manifest.__annotations__)}, found another JSON file")
    try:
        found, expected = [row["index"] for row in manifest["rows"]], list(shard_rows(manifest["shard"]))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    if found != expected:
        raise DataError(f"{path}: expected the {len(expected)} rows of shard {manifest['shard']} in order, found {found}")
    if not _has_keys(manifest["provenance"], Provenance):
        raise DataError(f"{path}: expected the provenance to hold {', '.join(Provenance.__annotations__)}, found it lacking")
    return manifest


def read_member(path: Path, row: Row) -> bytes:
    """Return the .nii.gz of a row, from the tar beside the manifest `path`; DataError, naming shard and row, if it is not what it was."""
    tar = path.with_suffix(".tar")
    start, n_bytes = row["tar_offset"], row["n_bytes"]
    with open_regular(tar, "shard's tar") as handle:
        if not isinstance(start, int) or not isinstance(n_bytes, int) or not 0 <= start <= start + n_bytes <= size_of(handle):
            raise DataError(f"{printable(tar)}: row {row['index']}: {path.name} places it at {start}, {n_bytes} bytes, outside of the tar.")
        handle.seek(start)
        content = handle.read(n_bytes)
    return _checked(content, row, tar)


def read_latents(path: Path) -> np.ndarray:
    """The latents of the shard with manifest `path`, float16 [N,C,i,j,k], in the order of its rows; DataError if they are not its rows'."""
    rows, file = read_manifest(path)["rows"], path.with_suffix(LATENTS)
    try:
        latents = load_file(file)["latents"]
    except (OSError, KeyError, SafetensorError) as error:
        raise DataError(f"{file}: expected the latents of {path}, found none that can be read ({error})") from None
    wrong = [row["index"] for row, latent in zip(rows, latents, strict=False) if row["latent_sha256"] != _digest(latent.tobytes())]
    if wrong or len(rows) != len(latents):
        raise DataError(f"{file}: expected the {len(rows)} latents of {path}, found {len(latents)}, with other hashes of the rows {wrong}")
    return latents


def iterate_volumes(path: Path, grid: Grid) -> Iterator[tuple[Row, np.ndarray]]:
    """Every row of the shard with manifest `path`, and its volume as float32 [I, J, K]; hashes and grid are checked."""
    for row in read_manifest(path)["rows"]:
        yield row, decode_volume(read_member(path, row), grid, f"{path.with_suffix('.tar')}: row {row['index']}")


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _has_keys(value: Any, kind: type) -> bool:
    return isinstance(value, dict) and set(kind.__annotations__) <= set(value)


def _file(folder: Path, index: int) -> Path:
    """Where a finished row lies until it is packed: its .nii.gz, and behind that its latent as .npy."""
    return folder / f"{index:06d}.row"


def _contents(file: Path, row: Row) -> tuple[bytes, np.ndarray]:
    """The .nii.gz and the latent of a finished row; DataError if they are not what they were."""
    whole = file.read_bytes()
    content = _checked(whole[: row["n_bytes"]], row, file)
    latent = np.load(io.BytesIO(whole[row["n_bytes"] :]))
    if _digest(latent.tobytes()) != row["latent_sha256"]:
        raise DataError(f"{file}: row {row['index']}: expected a latent with SHA-256 {row['latent_sha256']}, found another")
    return content, latent


def _is_whole(file: Path, row: Row) -> bool:
    try:
        return bool(_contents(file, row))
    except Exception:  # whatever a damaged line or file leads to: the row is made again
        return False


def _lines(folder: Path) -> Iterator[Any]:
    """The journal's lines: its identity, then rows; a line torn by a kill or a full disk is none."""
    with suppress(FileNotFoundError):
        for text in (folder / _JOURNAL).read_bytes().splitlines():
            with suppress(ValueError):
                yield json.loads(text)


def _whole_rows(folder: Path, identity: str) -> list[Row]:
    lines = list(_lines(folder))
    if lines and lines[0] != {"identity": identity}:
        logging.warning("%s: begun with another section, weights or request; its %d rows are redone", folder, len(lines) - 1)
        return []
    rows = {row["index"]: row for row in lines[1:] if _has_keys(row, Row) and isinstance(row["index"], int)}
    return [row for index, row in rows.items() if _is_whole(_file(folder, index), row)]


def _append(tar: IO[bytes], row: Row, content: bytes) -> Row:
    member = tarfile.TarInfo(row["path"])
    member.size = len(content)
    tar.write(member.tobuf(tarfile.USTAR_FORMAT))
    offset = tar.tell()
    tar.write(content + bytes(-len(content) % tarfile.BLOCKSIZE))
    return Row(**{**row, "tar_offset": offset})


def _checked(content: bytes, row: Row, file: Path) -> bytes:
    digest = _digest(content)
    if digest != row["sha256"]:
        expected, found = f"{row['n_bytes']} bytes with SHA-256 {row['sha256']}", f"{len(content)} with {digest}"
        raise DataError(f"{file}: row {row['index']}: expected {expected}, found {found}")
    return content
