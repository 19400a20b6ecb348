"""Pack one shard for publication: a tar of volumes and sidecars, the table of its rows, its checksum and piece hashes."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from brainldm.core.columns import MEASURED, REQUESTED, STORED
from brainldm.core.config import Given, read_section
from brainldm.core.errors import DataError
from brainldm.core.files import sha256, write_json
from brainldm.core.publication import Pack
from brainldm.formats import bids, packs
from brainldm.formats.nifti import decode_volume
from brainldm.formats.shards import read_manifest, read_member
from brainldm.formats.tables import read_parquet, write_parquet
from brainldm.formats.tars import write_tar
from brainldm.formats.torrent import piece_hashes

OTHERWISE_NAMED = {column.name.removeprefix("measured_"): column.name for column in MEASURED}


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    request: Annotated[Path, typer.Option(help="request table of the shard")],
    shard: Annotated[Path, typer.Option(help="manifest of the shard")],
    measure: Annotated[Path, typer.Option(help="measured table of the shard")],
    out: Annotated[Path, typer.Option(help="manifest to write; the tar and the table go beside it")],
) -> None:
    """The same inputs make the same bytes; a shard's hashes depend on that shard only."""
    given = read_section(section, "pack")
    for stale in out.parent.glob(f".tmp*.{out.stem}.*"):  # of a run that was killed: at full size it is a gigabyte
        stale.unlink()
    piece_length, tar = given.own(Pack).piece_length, out.with_suffix(".tar")
    table, previews = joined(request, shard, measure), list[bytes]()
    offsets = write_tar(tar, _members(shard, given, table, previews), piece_length)
    table = table.assign(tar_offset=offsets[1::2], preview=previews)
    write_parquet(out.with_suffix(".parquet"), table, packs.SCHEMA)
    sealed = {"n_bytes": tar.stat().st_size, "sha256": sha256(tar), "piece_length": piece_length}
    hashes = piece_hashes([tar], piece_length).hex()
    write_json(out, {"shard": out.stem, **sealed, "pieces": hashes, "provenance": read_manifest(shard)["provenance"]})
    logging.info("%s: %d volumes, %d bytes", tar, len(table), sealed["n_bytes"])


def joined(request: Path, shard: Path, measure: Path) -> pd.DataFrame:
    """Requested, measured and stored values of every row, in order; DataError, naming the rows, where the three do not agree."""
    requested = read_parquet(request, [column.name for column in REQUESTED])
    measured = read_parquet(measure, ["index", *OTHERWISE_NAMED])[["index", *OTHERWISE_NAMED]].rename(columns=OTHERWISE_NAMED)
    manifest = read_manifest(shard)
    stored = pd.DataFrame(manifest["rows"]).assign(
        shard=manifest["shard"], rejected=[" | ".join(row["rejected"]) for row in manifest["rows"]]
    )
    stored = stored[["index", *(column.name for column in STORED)]]
    _check_rows(request, requested["index"], shard, stored["index"])
    _check_rows(measure, measured["index"], shard, stored["index"])
    measured = measured.astype({column.name: column.kind for column in MEASURED})
    return requested.merge(measured, on="index").merge(stored, on="index").sort_values("index", ignore_index=True)


def _check_rows(path: Path, found: pd.Series, reference: Path, expected: pd.Series) -> None:
    if found.is_unique and set(found) == set(expected):
        return
    raise DataError(
        f"{path}: expected the rows of {reference}, each once; found twice: {sorted(set(found[found.duplicated()]))}; "
        f"only here: {sorted(set(found) - set(expected))}; only there: {sorted(set(expected) - set(found))}"
    )


def _members(shard: Path, given: Given, table: pd.DataFrame, previews: list[bytes]) -> Iterator[tuple[str, bytes]]:
    """Sidecar and volume of every row; a picture of each volume goes to `previews`."""
    for row, record in zip(read_manifest(shard)["rows"], bids.records(table), strict=True):
        content = read_member(shard, row)
        previews.append(packs.preview(decode_volume(content, given.grid, f"{shard.with_suffix('.tar')}: row {row['index']}")))
        yield bids.sidecar_path(row["path"]), bids.sidecar(record).encode()
        yield row["path"], content
