"""The parts of a release that come from packs: volumes or tars, the table of all rows, and the seal of checksums and torrent."""

import hashlib
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from brainldm.core.errors import DataError
from brainldm.core.files import atomic
from brainldm.formats import bids
from brainldm.formats.checksums import write_checksums
from brainldm.formats.packs import COLUMNS, SCHEMA, read_pack, read_rows
from brainldm.formats.torrent import write_torrent

TABLE, CHECKSUMS, SHARDS = "covariates.parquet", "checksums.sha256", "shards"
COVARIATE_MODEL = "covariate_model.json"
PROTOCOL = "protocol.yaml"
PAGE = "report-public.html"
LATENTS, AUTOENCODER = "latents", "autoencoder.safetensors"


def write_table(folder: Path, packs: Sequence[Path], n_rows: int, packaging: str) -> pd.DataFrame:
    """Write the table of the first `n_rows` rows, one pack in memory at a time; returns it without the previews.

    Volumes that lie in no tar have no offset in one. How they are packaged stands in the table's metadata.
    """
    kept: list[pa.Table] = []
    schema = SCHEMA.with_metadata({"packaging": packaging, "synthetic": "true: nobody was scanned"})
    with atomic(folder / TABLE) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd", write_page_checksum=True) as writer:
        for rows in map(read_rows, packs):
            part = rows.slice(0, n_rows - sum(map(len, kept)))
            if packaging != "tars":
                place = SCHEMA.get_field_index("tar_offset")
                part = part.set_column(place, SCHEMA.field(place), pa.nulls(len(part), pa.int64()))
            if len(part):
                writer.write_table(part.cast(schema))
                kept.append(part.select(COLUMNS))
    table = pa.concat_tables(kept).to_pandas()
    if table["index"].tolist() != list(range(len(table))):
        raise DataError(f"{packs[0].parent}: expected packs of the rows 0 to {len(table) - 1}, each once, found others")
    return table


def write_volumes(folder: Path, packs: Sequence[Path], n_rows: int) -> None:
    """Write the first `n_rows` volumes and their sidecars; DataError, naming the volume, where one is not what it was."""
    left = n_rows
    for pack in packs:
        table = read_rows(pack).slice(0, left).to_pandas()
        with pack.with_suffix(".tar").open("rb") as tar:
            for row, record in zip(table.to_dict("records"), bids.records(table), strict=True):
                tar.seek(row["tar_offset"])
                content = tar.read(row["n_bytes"])
                found = hashlib.sha256(content).hexdigest()
                if found != row["sha256"]:
                    raise DataError(f"{pack.with_suffix('.tar')}: {row['path']}: expected SHA-256 {row['sha256']}, found {found}")
                path = folder / bids.volume_path(row["participant_id"])
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
                (folder / bids.sidecar_path(bids.volume_path(row["participant_id"]))).write_text(bids.sidecar(record), encoding="utf-8")
        left -= len(table)


def link_tars(folder: Path, packs: Sequence[Path]) -> dict[Path, tuple[str, bytes]]:
    """The packs' tars in `folder`, as links where the disk has them; by tar its SHA-256 and piece hashes, as packed."""
    (folder / SHARDS).mkdir()
    return {_linked(pack.with_suffix(".tar"), folder / SHARDS): _hashes(pack) for pack in packs}


def link_latents(folder: Path, packs: Sequence[Path], latents: Sequence[Path], autoencoder: Path) -> None:
    """The shards' latents in `folder`, and the autoencoder that decodes them; DataError unless there are those of every pack."""
    if {path.stem for path in latents} != {path.stem for path in packs}:
        raise DataError(f"{packs[0].parent}: expected latents of every packed shard, found {', '.join(map(str, latents)) or 'none'}")
    (folder / LATENTS).mkdir()
    for path in latents:
        _linked(path, folder / LATENTS)
    _linked(autoencoder, folder, AUTOENCODER)


def _linked(file: Path, folder: Path, name: str = "") -> Path:
    target = folder / (name or file.name)
    try:
        os.link(file, target)
    except OSError:  # another disk, or one without links
        shutil.copyfile(file, target)
    return target


def _hashes(pack: Path) -> tuple[str, bytes]:
    found = read_pack(pack)
    return found["sha256"], bytes.fromhex(found["pieces"])


def seal(folder: Path, name: str, piece_length: int, web_seeds: Sequence[str], tars: dict[Path, tuple[str, bytes]]) -> str:
    """Write the checksums of every file, then the torrent of every file and the checksums; returns the infohash. Tars are not read."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_checksums(folder / CHECKSUMS, files, {tar: digest for tar, (digest, _) in tars.items()})
    aligned = {tar: pieces for tar, (_, pieces) in tars.items()}
    return write_torrent(folder / f"{name}.torrent", folder, [*files, folder / CHECKSUMS], name, piece_length, web_seeds, aligned)
