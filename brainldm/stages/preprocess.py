"""Register raw scans rigidly to MNI, resample once onto the grid, scale to [0, 1]; one batch per call, one scan at a time."""

import logging
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer
from rich.console import Console
from rich.progress import track

from brainldm.core import intensities
from brainldm.core.config import Given, Preprocess, read_section
from brainldm.core.errors import DataError, ScanError
from brainldm.core.files import read_json, sha256, write_json
from brainldm.core.rows import batch_names
from brainldm.formats.header import Geometry
from brainldm.formats.manifest import Entry, read_manifest
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.scan import fingerprint, read_scan
from brainldm.formats.tables import write_tsv
from brainldm.formats.transform import SUFFIX, write_transform
from brainldm.imaging import unires
from brainldm.imaging.placing import place
from brainldm.imaging.quality import MEASURES, flags, measure

JOURNALED = (*MEASURES, *intensities.MEASURES, *Geometry._fields)
COLUMNS = [*Entry._fields, "status", "reason", "volume", "transform", *JOURNALED, "flags"]
Measures = dict[str, Any]  # JOURNALED: numbers, and the texts of a Geometry
NOT_IN_A_VOLUME = {"scans_per_batch", "on_bad_scan", "flags"}  # settings on which no volume depends


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    manifest: Annotated[Path, typer.Option(help="TSV of raw scans")],
    batch: Annotated[str, typer.Option(help="which scans of the manifest: 000, 001, ...")],
    out: Annotated[Path, typer.Option(help="QC table to write; volumes and transforms go beside it")],
) -> None:
    """A batch that was killed goes on where it stopped: scans that are finished, under these settings, stay as they are."""
    given = read_section(section, "preprocess")
    if given.own(Preprocess).backend == "unires":
        unires.find_interpreter(given.own(Preprocess).unires_command)  # before hours are spent
    entries = _batch(manifest, batch, given.own(Preprocess).scans_per_batch)
    console = Console(stderr=True)
    rows = [_row(given, entry, out.parent) for entry in track(entries, f"preprocess {batch}", console=console)]
    write_tsv(out, pd.DataFrame(rows, columns=COLUMNS))


def _batch(manifest: Path, batch: str, size: int) -> list[Entry]:
    entries = read_manifest(manifest)
    names = batch_names(len(entries), size)
    if batch not in names:
        raise DataError(f"{manifest}: expected a batch between {names[0]} and {names[-1]}, found {batch!r}")
    first = names.index(batch) * size
    return entries[first : first + size]


def _row(given: Given, entry: Entry, folder: Path) -> dict[str, Any]:
    """The scan's row of the QC table, once its volume and its transform are written; a bad scan raises or is described, as configured."""
    options = given.own(Preprocess)
    volume, transform = folder / f"{entry.name}_T1w.nii.gz", folder / f"{entry.name}{SUFFIX}"
    try:
        measures = _finish(given, entry, volume, transform)
    except ScanError as error:
        if options.on_bad_scan == "error":
            raise
        logging.warning("left out: %s", error)
        return {**entry._asdict(), "status": "bad", "reason": " ".join(str(error).split())}
    raised = [*flags(measures, options.flags), *intensities.flags(measures, options.flags)]
    if measures["header_notes"]:
        raised.append("header_corrected")
    files = {"volume": volume.name, "transform": transform.name}
    return {**entry._asdict(), "status": "ok", **files, **measures, "flags": ";".join(raised) or None}


def _finish(given: Given, entry: Entry, volume: Path, transform: Path) -> Measures:
    """Measures of a scan: from its journal if that was written for this scan and these settings, else by doing the work.

    The journal, a JSON file beside the transform, is the first to go and the last to come: where it stands, the scan is finished.
    """
    journal = transform.with_suffix(".json")
    settings = {"seed": given.seed, "grid": given.grid.model_dump(mode="json")}
    settings |= given.own(Preprocess).model_dump(mode="json", exclude=NOT_IN_A_VOLUME)
    made_from = {"t1w_sha256": fingerprint(entry.t1w), "settings": settings}
    if (measures := _finished(journal, made_from, (volume, transform))) is not None:
        return measures
    for left in [journal, volume, transform, *volume.parent.glob(f".tmp*.{entry.name}_*")]:  # stale ones, and those of a killed run
        left.unlink(missing_ok=True)
    measures = _preprocess(given, entry.t1w, volume, transform)
    write_json(journal, {"measures": measures, "made_from": made_from, "sha256": [sha256(volume), sha256(transform)]})
    return measures


def _finished(journal: Path, made_from: dict[str, Any], files: tuple[Path, Path]) -> Measures | None:
    """The measures that a journal holds, if it is of the same scan and settings, and the files are still what they were."""
    try:
        done = read_json(journal)
        is_whole = done["made_from"] == made_from and done["sha256"] == [sha256(path) for path in files]
        return {name: done["measures"][name] for name in JOURNALED} if is_whole else None
    except (DataError, LookupError, TypeError, ValueError):  # not there, damaged, or of an older version
        return None


def _preprocess(given: Given, t1w: Path, out: Path, transform: Path) -> Measures:
    """Write the volume and the transform of a scan; its measures."""
    scan = read_scan(t1w)
    placed = place(scan.volume, scan.affine, given.grid, given.own(Preprocess), given.seed, str(t1w))
    write_bytes(out, encode_volume(quantise(placed.volume), given.grid, "brainldm preprocess"))
    write_transform(transform, placed.pose.mni_to_native)
    decided = {name: value or None for name, value in scan.geometry._asdict().items()}
    return {**measure(placed.native, scan.affine, placed.pose, given.grid, placed.volume), **placed.intensities, **decided}
