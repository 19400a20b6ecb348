"""Get part of a release, from a folder or over HTTP: the rows that fulfil a condition, as a BIDS dataset of their own."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import pandas as pd
import pyarrow as pa
import typer
from rich.console import Console
from rich.progress import track

from brainldm.core import outputs
from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.core.printable import printable
from brainldm.formats import bids, packs
from brainldm.formats.checksums import write_checksums
from brainldm.formats.facts import DESCRIBED
from brainldm.formats.nifti import write_bytes
from brainldm.formats.package import CHECKSUMS, TABLE
from brainldm.formats.places import full_name, is_remote, read_text
from brainldm.formats.released import Released, locate, open_release, read_volume_bytes, records
from brainldm.formats.tables import read_arrow, tsv_text, write_parquet

_BIDS = ("dataset_description.json", "T1w.json", "participants.json", "README.md", "LICENSE", "CHANGES", "CITATION.cff")
TEXTS = (*_BIDS, "DATASHEET.md", "provenance.json")
MOST_README = 16 << 20  # bytes of such a text


def main(
    place: Annotated[str, typer.Argument(help="folder or URL of a release")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
    where: Annotated[str | None, typer.Option(help="condition on columns of the table: \"age_years >= 70 and sex == 'F'\"")] = None,
    n: Annotated[int | None, typer.Option("-n", help="at most this many volumes, the first ones", min=1)] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """Volumes that are there already are kept, so that a call that was interrupted goes on when it is repeated.

    Every file that is fetched must have the SHA-256 that the release lists for it.
    """
    release = open_release(place, where, n)
    if release.table.empty:
        raise DataError(f"{printable(place)}: expected rows that fulfil {where!r}, found none")
    _check_listed(release)
    names = [TABLE, *TEXTS, bids.IGNORED, "participants.tsv", CHECKSUMS, *release.table["path"]]
    names += [bids.sidecar_path(path) for path in release.table["path"]]
    table = release.table.assign(tar_offset=None)
    own = set(names) if _holds(out / TABLE, table) else set()
    out = outputs.check_folder(out, names, overwrite, [] if is_remote(place) else [Path(place)], own)
    texts = dict(_texts(release))
    for name, text in texts.items():
        outputs.check_file(out / name, overwrite, content=text)
    write_parquet(out / TABLE, table, packs.PLAIN)  # the first: by it a call that is repeated knows the folder for its own
    for name, text in texts.items():
        write_bytes(out / name, text)
    for row in track(records(release.table), "volumes", len(release.table), console=Console(stderr=True)):
        path = out / row["path"]
        if not (path.exists() and sha256(path) == row["sha256"]):
            write_bytes(path, read_volume_bytes(release, row))
    files = sorted(out / name for name in names if name != CHECKSUMS)
    write_checksums(out / CHECKSUMS, files, {out / name: release.checksums[name] for name in TEXTS})
    logging.info("%s: %d volumes", out, len(table))


def _check_listed(release: Released) -> None:
    """DataError unless the release's checksums vouch for every file that will be fetched, before anything is written."""
    listed = full_name(release.place, CHECKSUMS)
    if missing := [name for name in TEXTS if name not in release.checksums]:
        raise DataError(f"Cannot use {listed}: it does not list {missing[0]}, which every release has. Get it again.")
    if release.packaging == "latents":
        raise DataError(f"{printable(release.place)}: expected volumes, found latents; brainldm.data.BrainLDMDataset decodes them")
    for row in records(release.table):
        name, _ = locate(row)
        digest = release.checksums.get(name)
        if digest is None or (release.packaging == "files" and digest != row["sha256"]):
            raise DataError(f"Cannot use {listed}: it does not list {name} as {TABLE} does. Get the release again, or from another copy.")


def _texts(release: Released) -> Iterator[tuple[str, bytes]]:
    """Name and content of every text beside the volumes, those of the release and those of the rows."""
    for name in TEXTS:
        yield name, read_text(release.place, name, release.checksums[name], MOST_README)
    yield bids.IGNORED, bids.NOT_BIDS.encode()
    yield "participants.tsv", tsv_text(bids.participants_table(release.table, DESCRIBED)).encode()
    for path, record in zip(release.table["path"], bids.records(release.table), strict=True):
        yield bids.sidecar_path(path), bids.sidecar(record).encode()


def _holds(path: Path, table: pd.DataFrame) -> bool:
    """Return True if this very table stands in a file, as a call that was interrupted left it."""
    try:
        expected = pa.Table.from_pandas(table, schema=packs.PLAIN, preserve_index=False)
        return not path.is_symlink() and bool(read_arrow(path).equals(expected))
    except Exception:  # there is none, or whatever another file of this name makes pyarrow raise
        return False
