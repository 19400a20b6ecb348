"""Get part of a release, from a folder or over HTTP: the rows that fulfil a condition, as a BIDS dataset of their own."""

import logging
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from brainldm.core.errors import DataError
from brainldm.core.files import sha256, write_text
from brainldm.core.printable import printable
from brainldm.formats import bids, packs
from brainldm.formats.checksums import write_checksums
from brainldm.formats.facts import DESCRIBED
from brainldm.formats.nifti import write_bytes
from brainldm.formats.package import CHECKSUMS, TABLE
from brainldm.formats.places import full_name, is_remote, read_text
from brainldm.formats.released import Released, locate, open_release, read_volume_bytes, records
from brainldm.formats.tables import write_parquet, write_tsv

_BIDS = ("dataset_description.json", "T1w.json", "participants.json", "README.md", "LICENSE", "CHANGES", "CITATION.cff")
TEXTS = (*_BIDS, "DATASHEET.md", "provenance.json")
MOST_README = 16 << 20  # bytes of such a text


def main(
    place: Annotated[str, typer.Argument(help="folder or URL of a release")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write")],
    where: Annotated[str | None, typer.Option(help="condition on columns of the table: \"age_years >= 70 and sex == 'F'\"")] = None,
    n: Annotated[int | None, typer.Option("-n", help="at most this many volumes, the first ones", min=1)] = None,
) -> None:
    """Volumes that are there already are kept, so that a call that was interrupted goes on when it is repeated.

    Every file that is fetched must have the SHA-256 that the release lists for it.
    """
    release = open_release(place, where, n)
    if release.table.empty:
        raise DataError(f"{printable(place)}: expected rows that fulfil {where!r}, found none")
    _check_listed(release)
    _check_place(place, out, set(release.table["participant_id"]))
    texts = {name: read_text(place, name, release.checksums[name], MOST_README) for name in TEXTS}
    for row in track(records(release.table), "volumes", len(release.table), console=Console(stderr=True)):
        path = out / row["path"]
        if not (path.exists() and sha256(path) == row["sha256"]):
            write_bytes(path, read_volume_bytes(release, row))
    rows = zip(release.table["path"], bids.records(release.table), strict=True)
    for name, record in rows:
        write_text(out / bids.sidecar_path(name), bids.sidecar(record))
    for name in TEXTS:
        write_bytes(out / name, texts[name])
    write_text(out / bids.IGNORED, bids.NOT_BIDS)
    write_tsv(out / "participants.tsv", bids.participants_table(release.table, DESCRIBED))
    write_parquet(out / TABLE, release.table.assign(tar_offset=None), packs.PLAIN)
    files = sorted(path for path in out.rglob("*") if path.is_file() and path.name != CHECKSUMS)
    write_checksums(out / CHECKSUMS, files, {out / name: release.checksums[name] for name in TEXTS})
    logging.info("%s: %d volumes", out, len(release.table))


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


def _check_place(place: str, out: Path, wanted: set[str]) -> None:
    """Refuse the release's own folder, and one with volumes that are not among those wanted: the result would be a mixture."""
    if not is_remote(place) and out.resolve().is_relative_to(Path(place).resolve()):
        raise DataError(f"{out} lies in the release {printable(place)} itself. Give -o another folder.")
    others = sorted({path.name for path in out.glob("sub-*")} - wanted)
    if others:
        raise DataError(f"{out}: expected no folder, or one of the same call that was interrupted, found {len(others)} others: {others[0]}")
