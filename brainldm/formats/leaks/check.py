"""The leak check of a folder: every file in it is of a kind that a release may hold, is read to its last byte and searched."""

import logging
import multiprocessing
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from brainldm.core.errors import DataError
from brainldm.formats.leaks.archives import tar_pieces
from brainldm.formats.leaks.compressed import nifti_pieces, png_pieces, volume_pieces
from brainldm.formats.leaks.pages import page_pieces
from brainldm.formats.leaks.parquet import parquet_pieces
from brainldm.formats.leaks.people import PeopleSearch
from brainldm.formats.leaks.pieces import Array, Fault, Pieces, Text, Unreadable
from brainldm.formats.leaks.search import Finding, Search
from brainldm.formats.leaks.secrets import Secrets, read_secrets
from brainldm.formats.leaks.tensors import tensor_pieces, torrent_pieces
from brainldm.formats.leaks.texts import json_pieces, table_pieces, text_pieces

TABLE = "covariates.parquet"
SHORTEST_IN_PACKED = 10  # letters and digits of an id in bytes that are compressed
_MOST_BYTES = 4 << 30  # of a file that is read as a whole

Reader = Callable[[bytes], Pieces]
_WHOLE: dict[str, Reader] = {
    ".nii.gz": volume_pieces,
    ".nii": nifti_pieces,
    ".json": json_pieces,
    ".jsonld": json_pieces,
    ".tsv": lambda content: table_pieces(content, "\t"),
    ".csv": lambda content: table_pieces(content, ","),
    ".png": png_pieces,
    ".torrent": torrent_pieces,
    ".html": page_pieces,
    **dict.fromkeys((".md", ".txt", ".yaml", ".yml", ".cff", ".sha256", ".svg", ".bib", ".xml", ".rst"), text_pieces),
}
_TEXT_NAMES = ("LICENSE", "CHANGES", "README", "CHANGELOG", "NOTICE", ".bidsignore", ".gitattributes")
_STREAMED = (".tar", ".parquet", ".safetensors")
KINDS = (*_WHOLE, *_STREAMED, *_TEXT_NAMES)
# What a damaged or hostile file makes its reader raise.
DAMAGE = (Unreadable, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, OSError, RecursionError)


def check(folder: Path, covariates: Path, keys: Sequence[Path] = (), manifest: Path | None = None, jobs: int = 1) -> None:
    """Raise a DataError, which names file, place and finding, if `folder` holds anything that may not be published."""
    found = list(findings(folder, covariates, keys, manifest, jobs))
    if found:
        raise DataError(
            f"{found[0]}. This must not be published ({len(found)} finding(s)). "
            "Remove its source and make the release again; `brainldm leak_check` lists all findings of a folder."
        )


def findings(folder: Path, covariates: Path, keys: Sequence[Path] = (), manifest: Path | None = None, jobs: int = 1) -> Iterator[Finding]:
    """Yield, once each, what must not be published and what cannot be read in a folder, with `jobs` processes.

    `covariates` is the table of the training scans, `manifest` that of the raw scans, `keys` are files of the lab's keys.
    DataError if one of these cannot be read.
    """
    secrets = read_secrets(covariates, keys, manifest)
    n_released = _n_released(folder)
    search = Search(secrets, n_released)
    shared = sum(search.ids.is_taken(value) for value in set(secrets.people["participant_id"]))
    if shared:
        logging.warning("%s: %d ids are names of synthetic participants too: those names cannot be told apart", covariates, shared)
    entries = _entries(folder)
    if jobs > 1 and len(entries) > 1:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            for found, people in pool.map(_searched, repeat(secrets), repeat(n_released), _shares(entries, jobs)):
                yield from found
                search.people.merge(people)
    else:
        yield from _found(search, entries)
    yield from dict.fromkeys(search.rows())


def _found(search: Search, entries: list[tuple[str, Path]]) -> Iterator[Finding]:
    """Yield the findings of files, once each; rows of covariates stay in the search."""
    for file, path in entries:
        seen: set[Finding] = set()
        for piece in chain([Text("name", file)], _guarded(_entry(path))):
            for finding in search.look(file, piece):
                if finding not in seen:
                    seen.add(finding)
                    yield finding


def _searched(secrets: Secrets, n_released: int, entries: list[tuple[str, Path]]) -> tuple[list[Finding], PeopleSearch]:
    """Return the findings of files and the search of their rows; runs in a process of its own."""
    search = Search(secrets, n_released)
    return list(_found(search, entries)), search.people


def _shares(entries: list[tuple[str, Path]], jobs: int) -> list[list[tuple[str, Path]]]:
    """Return the files in `jobs` shares of about as many bytes."""
    shares: list[list[tuple[str, Path]]] = [[] for _ in range(jobs)]
    n_bytes = [0] * jobs
    for size, file, path in sorted(((path.lstat().st_size, file, path) for file, path in entries), reverse=True):
        smallest = n_bytes.index(min(n_bytes))
        shares[smallest].append((file, path))
        n_bytes[smallest] += size + 1
    return shares


def _n_released(folder: Path) -> int:
    """Return the highest number that a synthetic participant of the release has: 0 where the folder has no table of a release."""
    try:
        index = pq.read_table(folder / TABLE, columns=["index"], use_threads=False)["index"].to_pylist()
        return max((value for value in index if isinstance(value, int)), default=-1) + 1
    except (OSError, KeyError, ValueError, pa.ArrowException):
        return 0


def _guarded(pieces: Pieces) -> Pieces:
    """Yield pieces; whatever ends their reader becomes a fault."""
    try:
        yield from pieces
    except (*DAMAGE, pa.ArrowException) as error:
        yield Fault("", f"cannot be read to its end: {error or type(error).__name__}")


def _entries(folder: Path) -> list[tuple[str, Path]]:
    """Return name and path of everything below a folder, in order."""
    if not folder.is_dir() or folder.is_symlink():
        raise DataError(f"Cannot check {folder}: it is no folder. Name the folder that will be published.")
    found = []
    for parent, folders, names in os.walk(folder, onerror=_refuse):
        folders.sort()
        for name in sorted([*folders, *names]):
            path = Path(parent) / name
            relative = path.relative_to(folder).as_posix()
            found.append((relative.encode("utf-8", "surrogateescape").decode("utf-8", "replace"), path))
    return found


def _refuse(error: OSError) -> None:
    raise DataError(f"Cannot check {error.filename}: {error.strerror}. Make the folder readable.") from None


def _entry(path: Path) -> Pieces:
    """Yield the pieces of a file; what is neither a file nor a folder is a fault."""
    mode = path.lstat().st_mode
    if stat.S_ISREG(mode):
        yield from _file(path)
    elif stat.S_ISLNK(mode):
        yield Fault("", "a symbolic link; copy what it leads to, or remove it")
        yield Text("link's target", os.readlink(path))
    elif not stat.S_ISDIR(mode):
        yield Fault("", "neither a file nor a folder (a FIFO, socket or device); remove it")


def _file(path: Path) -> Pieces:
    """Yield the pieces of a regular file, by the kind that its name tells."""
    n_bytes = path.stat().st_size
    if path.suffix == ".tar":
        with path.open("rb") as file:
            yield from tar_pieces(file, n_bytes, _member)
    elif path.suffix == ".parquet":
        yield from parquet_pieces(path)
    elif path.suffix == ".safetensors":
        yield from tensor_pieces(path)
    elif n_bytes > _MOST_BYTES:
        raise Unreadable(f"a file of {n_bytes} bytes, more than one of its kind has")
    else:
        yield from content_pieces(path.name, path.read_bytes())


def _member(name: str, content: bytes) -> Pieces:
    """Yield the pieces of a tar's member, each with the member's name before its place; whatever ends its reader is a fault."""
    yield Text(f"member {name}, name", name)
    for piece in _guarded(content_pieces(name.rpartition("/")[2], content)):
        yield piece._replace(place=f"member {name}, {piece.place}" if piece.place else f"member {name}")


def content_pieces(name: str, content: bytes) -> Pieces:
    """Yield the pieces of a file of that name, which is read as a whole; a kind that no release holds is a fault."""
    reader = next((reader for suffix, reader in _WHOLE.items() if name.endswith(suffix) and name != suffix), None)
    if name in _TEXT_NAMES:
        reader = text_pieces
    if reader is None:
        kind = "an archive inside an archive" if name.endswith(_STREAMED) else "a kind of file that no release holds"
        yield Fault("", f"{kind}, so it was not read; remove it (known are {', '.join(KINDS)})")
        yield Array("content", content, SHORTEST_IN_PACKED)
        return
    if reader in (volume_pieces, png_pieces):
        yield Array("compressed bytes", content, SHORTEST_IN_PACKED)
    yield from reader(content)
