"""Is a release what it was? Every file against its checksum, the table against its schema, the header of every volume."""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from rich.console import Console
from rich.progress import track

from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.core.findings import Finding, error, size, warning
from brainldm.formats import bids
from brainldm.formats.checksums import read_checksums
from brainldm.formats.facts import DESCRIBED
from brainldm.formats.package import CHECKSUMS, LATENTS, SHARDS, TABLE
from brainldm.formats.packs import PLAIN, SCHEMA
from brainldm.formats.places import read_part
from brainldm.formats.released import Released, locate, open_release, read_latent, read_volume_bytes
from brainldm.formats.tables import tsv_text

_AGAIN = "download the file again (a torrent client repairs it), or take it from another copy"
_HEADER_BYTES = 4096  # of a .nii.gz, of which the header is decompressed
_SPACE = ("dim", "pixdim", "qform_code", "srow_x", "srow_y", "srow_z")


def check(folder: Path) -> Iterator[Finding]:
    """Every finding; what is damaged is named by file, and by row where it is a volume."""
    listed = read_checksums(folder / CHECKSUMS)
    files = track(listed.items(), "files", len(listed), console=Console(stderr=True))
    wrong = [name for name, digest in files if not _is_whole(folder / name, digest)]
    if not wrong:
        n_bytes = sum((folder / name).stat().st_size for name in listed)
        yield Finding("files", f"{len(listed)} files, {size(n_bytes)}, as {CHECKSUMS} lists them")
    present = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.suffix != ".torrent"}
    if others := sorted(present - set(listed) - {CHECKSUMS}):
        yield warning("files", f"{len(others)} not listed, such as {others[0]}", "they are no part of the release", "remove or leave them")
    if TABLE in wrong or TABLE not in listed:
        yield error(TABLE, "missing or damaged", "without it nothing tells which row a volume is", _AGAIN)
        return
    release = open_release(str(folder))
    for name in wrong:
        yield from _damage(folder, name, release)
    yield _table(folder, release.table)
    if release.packaging != "latents":
        yield from _headers(release)


def _is_whole(path: Path, digest: str) -> bool:
    return path.is_file() and sha256(path) == digest


def _damage(folder: Path, name: str, release: Released) -> Iterator[Finding]:
    """What is wrong with a file: the rows whose volumes are not what they were, or that none is."""
    if not (folder / name).is_file():
        yield error(name, "missing", f"{CHECKSUMS} lists it", _AGAIN)
        return
    table = release.table
    inside = table["shard"] == Path(name).stem if name.startswith((f"{SHARDS}/", f"{LATENTS}/")) else table["path"] == name
    rows = [row for row in table[inside].to_dict("records") if not _is_readable(release, row)]
    for row in rows:
        found = f"row {row['index']} ({row['participant_id']}) is damaged"
        yield error(name, found, "the bytes of its volume or latent are not those with the SHA-256 of the table", _AGAIN)
    if not rows:
        where = "no volume, but a sidecar, a tar header or the filling" if inside.any() else "another SHA-256 than is listed"
        yield error(name, "damaged", where, _AGAIN)


def _is_readable(release: Released, row: dict[Any, Any]) -> bool:
    try:
        return bool(read_latent(release, row).size if release.packaging == "latents" else read_volume_bytes(release, row))
    except DataError:
        return False


def _table(folder: Path, table: pd.DataFrame) -> Finding:
    """The table's types and units, its rows, and participants.tsv, which says the same."""
    schema, cause = pq.read_schema(folder / TABLE), ""
    expected = SCHEMA if len(schema) == len(SCHEMA) else PLAIN
    if not schema.remove_metadata().equals(expected, check_metadata=True):
        cause = "its columns, types or units are not those of this version"
    elif not (table["index"].is_unique and table["index"].is_monotonic_increasing and table["path"].is_unique):
        cause = "rows are there twice, or not in order"
    elif (folder / "participants.tsv").read_text(encoding="utf-8") != tsv_text(bids.participants_table(table, DESCRIBED)):
        cause = "participants.tsv does not say the same"
    if cause:
        return error(TABLE, f"{len(table)} rows", cause, "verify with the version that made the release, or make it again")
    return Finding(TABLE, f"{len(table)} rows, {len(schema)} columns, as participants.tsv")


def _headers(release: Released) -> Iterator[Finding]:
    """The header of every volume: scaled integers, one space for all, told twice alike, and that it is synthetic."""
    first: dict[str, Any] = {}
    wrong: dict[str, list[int]] = {}
    for row in track(release.table.to_dict("records"), "headers", console=Console(stderr=True)):
        try:
            fault = header_fault(read_header(release, row), first)
        except (DataError, ValueError, zlib.error, nib.spatialimages.HeaderDataError):
            fault = "it cannot be read"
        if fault:
            wrong.setdefault(fault, []).append(row["index"])
    for fault, rows in wrong.items():
        yield error("headers", f"{len(rows)} of {len(release.table)}, first row {rows[0]}", fault, _AGAIN)
    if not wrong:
        yield Finding("headers", f"{len(release.table)} of {' x '.join(map(str, first['dim'][1:4]))} voxels, {first['pixdim'][1]:g} mm")


def read_header(release: Released, row: dict[Any, Any]) -> nib.Nifti1Header:
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
