"""Is a release what it was? Every file against its checksum, the table against its schema, the header of every volume."""

import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from rich.console import Console
from rich.progress import track

from brainldm.core.errors import DataError
from brainldm.core.findings import Finding, error, size
from brainldm.core.printable import printable
from brainldm.core.regular_files import MOST_TEXT, entries, kind_of
from brainldm.formats import bids
from brainldm.formats.bounded_parquet import MOST_FILE
from brainldm.formats.checksums import read_checksums
from brainldm.formats.facts import DESCRIBED
from brainldm.formats.package import AUTOENCODER, CHECKSUMS, LATENTS, SHARDS, TABLE
from brainldm.formats.packs import PLAIN, SCHEMA
from brainldm.formats.places import check_place, open_whole, read_part, read_text
from brainldm.formats.released import Released, latents_size, locate, read_latent, read_release, read_volume_bytes, records
from brainldm.formats.tables import tsv_text

MOST_SIDECAR = 1 << 20  # bytes of a text below the root
MOST_PIECE = 1 << 26  # bytes: zeros fill a tar up to a multiple of the torrent's pieces
_AGAIN = "download the file again (a torrent client repairs it), or take it from another copy"
_HEADER_BYTES = 4096  # of a .nii.gz, of which the header is decompressed
_SPACE = ("dim", "pixdim", "qform_code", "srow_x", "srow_y", "srow_z")


def check(folder: Path) -> Iterator[Finding]:
    """Every finding; what is damaged is named by file, and by row where it is a volume.

    DataError if there are no checksums, or the table that they vouch for is none of a release.
    """
    place = str(folder)
    check_place(place)
    listed = read_checksums(place, CHECKSUMS)
    present = {name: (mode, n_bytes) for name, mode, n_bytes in entries(folder)}
    yield from _strangers(present, listed)
    if TABLE not in listed or not _is_whole(folder, TABLE, listed[TABLE], MOST_FILE):
        yield error(TABLE, "missing or damaged", "without it nothing tells which row a volume is", _AGAIN)
        return
    release = read_release(place, listed)
    limits = _limits(release)
    files = track(listed.items(), "files", len(listed), console=Console(stderr=True))
    wrong = [
        name for name, digest in files if not _is_whole(folder, name, digest, limits.get(name, MOST_SIDECAR if "/" in name else MOST_TEXT))
    ]
    if not wrong:
        n_bytes = sum(present[name][1] for name in listed if name in present)
        yield Finding("files", f"{len(listed)} files, {size(n_bytes)}, as {CHECKSUMS} lists them")
    for name in wrong:
        yield from _damage(folder, name, release)
    yield _table(folder, release)
    if release.packaging != "latents":
        yield from _headers(release)


def _strangers(present: Mapping[str, tuple[int, int]], listed: Mapping[str, str]) -> Iterator[Finding]:
    """What lies in the folder and is no file that the checksums vouch for; the torrent of the release is made after them."""
    torrents = sorted(name for name in present if name.endswith(".torrent") and "/" not in name)
    own = {CHECKSUMS, *listed, *torrents[:1]}
    for name in sorted(present):
        kind = kind_of(present[name][0])
        if kind and not (name in listed and kind == "a symbolic link"):  # that one is followed, if it stays inside
            yield error(printable(name), kind, "a release holds regular files only", "remove it, or take the release from another copy")
    others = sorted(name for name in set(present) - own if not kind_of(present[name][0]))
    if others:
        found = f"{len(others)} not listed, such as {printable(others[0])}"
        yield error("files", found, f"{CHECKSUMS} does not vouch for them", "remove them, or take the release from another copy")


def _limits(release: Released) -> dict[str, int]:
    """Return how many bytes a file may have, by name, as the table tells: no more of it is read. Of other files, MOST_TEXT."""
    table = release.table
    limits = {TABLE: MOST_FILE, AUTOENCODER: MOST_FILE}
    if release.packaging == "files":
        limits |= dict(zip(table["path"], table["n_bytes"].astype(int), strict=True))
    for shard, rows in table.groupby("shard"):
        if release.packaging == "tars":
            limits[f"{SHARDS}/{shard}.tar"] = int((rows["tar_offset"] + rows["n_bytes"]).max()) + MOST_PIECE
        elif release.packaging == "latents":
            limits[f"{LATENTS}/{shard}.safetensors"] = latents_size(release.place, str(shard))
    return limits


def _is_whole(folder: Path, name: str, digest: str, most: int) -> bool:
    """Return True if the file is a regular one inside of the folder, has at most `most` bytes, and has this SHA-256."""
    try:
        with open_whole(str(folder), name, digest, most):
            return True
    except DataError:
        return False


def _damage(folder: Path, name: str, release: Released) -> Iterator[Finding]:
    """What is wrong with a file: the rows whose volumes are not what they were, or that none is."""
    if not (folder / name).exists():
        yield error(name, "missing", f"{CHECKSUMS} lists it", _AGAIN)
        return
    table = release.table
    inside = table["shard"] == Path(name).stem if name.startswith((f"{SHARDS}/", f"{LATENTS}/")) else table["path"] == name
    rows = [row for row in records(table[inside]) if not _is_readable(release, row)]
    for row in rows:
        found = f"row {row['index']} ({row['participant_id']}) is damaged"
        yield error(name, found, "the bytes of its volume or latent are not those with the SHA-256 of the table", _AGAIN)
    if not rows:
        where = "no volume, but a sidecar, a tar header or the filling" if inside.any() else "another SHA-256 than is listed"
        yield error(name, "damaged", where, _AGAIN)


def _is_readable(release: Released, row: dict[str, Any]) -> bool:
    try:
        return bool(read_latent(release, row).size if release.packaging == "latents" else read_volume_bytes(release, row))
    except DataError:
        return False


def _table(folder: Path, release: Released) -> Finding:
    """The table's types and units, its rows, and participants.tsv, which says the same."""
    table, schema, cause = release.table, release.schema, ""
    expected = SCHEMA if len(schema) == len(SCHEMA) else PLAIN
    if not schema.remove_metadata().equals(expected, check_metadata=True):
        cause = "its columns, types or units are not those of this version"
    elif not (table["index"].is_unique and table["index"].is_monotonic_increasing and table["path"].is_unique):
        cause = "rows are there twice, or not in order"
    elif not _says(folder, "participants.tsv", tsv_text(bids.participants_table(table, DESCRIBED))):
        cause = "participants.tsv does not say the same"
    if cause:
        return error(TABLE, f"{len(table)} rows", cause, "verify with the version that made the release, or make it again")
    return Finding(TABLE, f"{len(table)} rows, {len(schema)} columns, as participants.tsv")


def _says(folder: Path, name: str, text: str) -> bool:
    """Return True if a file holds this text; no more than the text's length is read."""
    content = text.encode()
    try:
        return read_text(str(folder), name, None, len(content)) == content
    except DataError:
        return False


def _headers(release: Released) -> Iterator[Finding]:
    """The header of every volume: scaled integers, one space for all, told twice alike, and that it is synthetic."""
    first: dict[str, Any] = {}
    wrong: dict[str, list[int]] = {}
    rows = records(release.table)
    for row in track(rows, "headers", len(release.table), console=Console(stderr=True)):
        try:
            fault = header_fault(read_header(release, row), first)
        except (DataError, ValueError, zlib.error, nib.spatialimages.HeaderDataError, nib.wrapstruct.WrapStructError):
            fault = "it cannot be read"
        if fault:
            wrong.setdefault(fault, []).append(row["index"])
    for fault, rows_of in wrong.items():
        yield error("headers", f"{len(rows_of)} of {len(release.table)}, first row {rows_of[0]}", fault, _AGAIN)
    if not wrong and first:
        yield Finding("headers", f"{len(release.table)} of {' x '.join(map(str, first['dim'][1:4]))} voxels, {first['pixdim'][1]:g} mm")


def read_header(release: Released, row: dict[str, Any]) -> nib.Nifti1Header:
    """The header of a row's volume; only its first bytes are read and decompressed."""
    content = read_part(release.place, *locate(row), min(_HEADER_BYTES, row["n_bytes"]))
    return nib.Nifti1Header(zlib.decompressobj(31).decompress(content, 348), check=False)


def header_fault(header: nib.Nifti1Header, first: dict[str, Any]) -> str:
    """What is wrong with a header, or nothing; `first` keeps the space of the first one, which is that of all."""
    if header["magic"] != b"n+1" or header["datatype"] != 4 or not 0 < float(header["scl_slope"]) < 1:
        return "no scaled 16-bit integers"
    if not np.allclose(header.get_qform(), header.get_sform(), atol=1e-3) or header["qform_code"] != header["sform_code"]:
        return "qform and sform differ"
    if header.get_xyzt_units()[0] != "mm" or not bytes(header["descrip"]).startswith(b"SYNTHETIC"):
        return "no unit, or no word that it is synthetic"
    space = {name: header[name].tolist() for name in _SPACE}
    if not first:
        first.update(space)
    return "" if space == first else "another grid than the first volume's"
