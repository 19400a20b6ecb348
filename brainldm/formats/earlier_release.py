"""An earlier release, told from a user's files, so that a new one replaces nothing but what a release made."""

import os
from pathlib import Path

import pyarrow.parquet as pq

from brainldm.core.errors import DataError, OutputError
from brainldm.core.files import read_json, sha256
from brainldm.core.outputs import listed, named
from brainldm.formats.bids import sidecar_path
from brainldm.formats.package import AUTOENCODER, CHECKSUMS, LATENTS, SHARDS, TABLE

DESCRIPTION = "dataset_description.json"


def check_replaceable(folder: Path, overwrite: bool, fresh: Path | None = None) -> None:
    """Raise OutputError unless a release may take the place of a folder: there is none, it is empty, or an earlier one.

    An earlier release is whole: its table and every file of volumes that the table lists. Other files are refused,
    with `overwrite` too; texts must be among those of the new release in `fresh`, once that is built. A text that is
    not what the checksums tell was edited, and is replaced only with `overwrite`.
    """
    if folder.is_symlink():
        raise OutputError(f"Cannot write to {folder}: it is a link to {os.readlink(folder)}. Name the folder itself.")
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"Cannot write to {folder}: it is a file. Name a folder.")
    found = listed(folder)
    if not found:
        return
    texts = [name for name in found if "/" not in name] if fresh is None else listed(fresh)
    volumes = _volume_files(folder)
    own = {*volumes, *texts, _torrent(folder)} if volumes else set()
    others = [name for name in found if name not in own or (folder / name).is_symlink()]
    if others:
        remedy = "Move these elsewhere, or name another folder."
        raise OutputError(f"Cannot replace {folder}: it holds {named(others)}, which no release made. {remedy}")
    edited = [] if overwrite else _edited(folder)
    if edited:
        remedy = "Move these elsewhere, or add --overwrite to replace them."
        raise OutputError(f"Cannot replace {folder}: {named(edited)} changed since the release was made. {remedy}")


def _volume_files(folder: Path) -> set[str]:
    """The files that hold volumes by the table of a release, and the table; none unless all are there and whole."""
    try:
        table = pq.read_table(folder / TABLE, columns=["path", "shard", "n_bytes"])
        packaging = (table.schema.metadata or {}).get(b"packaging", b"files").decode()
        rows = table.to_pylist()
    except Exception:  # whatever another file of this name makes pyarrow raise
        return set()
    if packaging == "files":
        sizes = {str(row["path"]): row["n_bytes"] for row in rows}
        beside = {sidecar_path(path) for path in sizes}
    elif packaging == "tars":
        sizes = {}
        beside = {f"{SHARDS}/{row['shard']}.tar" for row in rows}
    else:
        sizes = {}
        beside = {AUTOENCODER, *(f"{LATENTS}/{row['shard']}.safetensors" for row in rows)}
    is_whole = all((folder / name).is_file() for name in (*sizes, *beside, DESCRIPTION))
    if not is_whole or any((folder / path).stat().st_size != n_bytes for path, n_bytes in sizes.items()):
        return set()
    return {TABLE, *sizes, *beside}


def _torrent(folder: Path) -> str:
    """The name of the earlier release's torrent, which may differ from that of the new one."""
    try:
        name = str(read_json(folder / DESCRIPTION)["Name"])
    except (DataError, LookupError, TypeError):
        return ""
    return f"{name.partition(' (')[0]}.torrent"


def _edited(folder: Path) -> list[str]:
    """Files beside the volumes that are not what the checksums tell, which Snakemake removes before it makes them."""
    checksums = folder / CHECKSUMS
    if not checksums.is_file():
        return []
    lines = [line.split("  ", 1) for line in checksums.read_text(encoding="utf-8", errors="replace").splitlines()]
    told = {line[-1]: line[0] for line in lines}
    return [name for name in listed(folder) if "/" not in name and name in told and sha256(folder / name) != told[name]]
