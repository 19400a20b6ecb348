"""Get part of a release, from a folder or over HTTP: the rows that fulfil a condition, as a BIDS dataset of their own."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from brainldm.core.errors import DataError
from brainldm.core.files import sha256, write_text
from brainldm.formats import bids, packs
from brainldm.formats.checksums import write_checksums
from brainldm.formats.facts import DESCRIBED
from brainldm.formats.nifti import write_bytes
from brainldm.formats.package import CHECKSUMS, TABLE
from brainldm.formats.places import read_part
from brainldm.formats.released import open_release, read_volume_bytes
from brainldm.formats.tables import write_parquet, write_tsv

_BIDS = ("dataset_description.json", "T1w.json", "participants.json", "README.md", "LICENSE", "CHANGES", "CITATION.cff")
TEXTS = (*_BIDS, "DATASHEET.md", "provenance.json")


def main(
    place: Annotated[str, typer.Argument(help="folder or URL of a release")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
    where: Annotated[str | None, typer.Option(help="condition on columns of the table: \"age_years >= 70 and sex == 'F'\"")] = None,
    n: Annotated[int | None, typer.Option("-n", help="at most this many volumes, the first ones", min=1)] = None,
) -> None:
    """Volumes that are there already are kept, so that a call that was interrupted goes on when it is repeated."""
    release = open_release(place, where, n)
    if release.table.empty:
        raise DataError(f"{place}: expected rows that fulfil {where!r}, found none")
    _check_place(out, set(release.table["participant_id"]))
    rows = release.table.to_dict("records")
    for row in track(rows, "volumes", console=Console(stderr=True)):
        path = out / row["path"]
        if not (path.exists() and sha256(path) == row["sha256"]):
            write_bytes(path, read_volume_bytes(release, row))
    for row, record in zip(rows, bids.records(release.table), strict=True):
        write_text(out / bids.sidecar_path(row["path"]), bids.sidecar(record))
    for name in TEXTS:
        write_bytes(out / name, read_part(place, name))
    write_text(out / bids.IGNORED, bids.NOT_BIDS)
    write_tsv(out / "participants.tsv", bids.participants_table(release.table, DESCRIBED))
    write_parquet(out / TABLE, release.table.assign(tar_offset=None), packs.PLAIN)
    write_checksums(out / CHECKSUMS, sorted(path for path in out.rglob("*") if path.is_file() and path.name != CHECKSUMS))
    logging.info("%s: %d volumes", out, len(rows))


def _check_place(out: Path, wanted: set[str]) -> None:
    """Refuse a folder with volumes that are not among those wanted: the result would be a mixture."""
    others = sorted({path.name for path in out.glob("sub-*")} - wanted)
    if others:
        raise DataError(f"{out}: expected no folder, or one of the same call that was interrupted, found {len(others)} others: {others[0]}")
