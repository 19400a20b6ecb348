"""Package the synthetic dataset: BIDS volumes, tables, checksums and torrent, in one folder that appears whole."""

import logging
from pathlib import Path
from typing import Annotated, Any

import pandas as pd
import typer

from brainldm import __version__
from brainldm.core.columns import MEASURED, REQUESTED, STORED
from brainldm.core.config import Given, Release, read_section
from brainldm.core.errors import DataError
from brainldm.core.files import atomic_folder, read_json, write_json, write_text
from brainldm.core.gate import pass_audit
from brainldm.formats import bids
from brainldm.formats.checksums import write_checksums
from brainldm.formats.shard_set import join, provenance
from brainldm.formats.shards import read_manifest, read_member
from brainldm.formats.tables import arrow_schema, read_parquet, write_parquet, write_tsv
from brainldm.formats.torrent import write_torrent

OWN_FILE = "covariates.parquet"  # a folder with this file is a release, which another may replace
OTHERWISE_NAMED = {column.name.removeprefix("measured_"): column.name for column in MEASURED}


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    request: Annotated[list[Path], typer.Option(help="request table of a shard; repeat for every shard")],
    shard: Annotated[list[Path], typer.Option(help="manifest of a shard; repeat for every shard")],
    measure: Annotated[list[Path], typer.Option(help="measured table of a shard; repeat for every shard")],
    report: Annotated[Path, typer.Option(help="report of the evaluation")],
    out: Annotated[Path, typer.Option(help="checksums to write; the folder they lie in becomes the dataset")],
) -> None:
    """The dataset is built beside its place and swapped in; what an earlier run left there goes."""
    given = read_section(section, "release")
    table = dataset_table(request, shard, measure)
    figures = pass_audit(read_json(report), report, given.own(Release).despite_audit)
    _check_place(out.parent)
    with atomic_folder(out.resolve().parent) as folder:
        for manifest in shard:
            _copy_volumes(manifest, folder)
        write_json(folder / "provenance.json", provenance(join(shard)))
        write_parquet(folder / OWN_FILE, table, arrow_schema((*REQUESTED, *MEASURED, *STORED)))
        _write_texts(folder, given, table, figures)
        infohash = _seal(folder, out.name, given.own(Release))
    logging.info("%s: %d volumes, infohash %s", out.parent, len(table), infohash)


def dataset_table(requests: list[Path], shards: list[Path], measures: list[Path]) -> pd.DataFrame:
    """Requested, measured and stored values of every row, in order; DataError, naming the rows, where the three do not agree."""
    requested = pd.concat([read_parquet(path, [column.name for column in REQUESTED]) for path in requests])
    measured = pd.concat([read_parquet(path, ["index", *OTHERWISE_NAMED]) for path in measures])
    manifests = join(shards)
    stored = pd.DataFrame([{**row, "shard": manifest["shard"]} for manifest in manifests for row in manifest["rows"]])
    measured = measured[["index", *OTHERWISE_NAMED]].rename(columns=OTHERWISE_NAMED)
    measured = measured.astype({column.name: column.kind for column in MEASURED})
    stored = stored[["index", *(column.name for column in STORED)]]
    _check_rows("the request", requested["index"], "the shards", stored["index"])
    _check_rows("the measurements", measured["index"], "the shards", stored["index"])
    return requested.merge(measured, on="index").merge(stored, on="index").sort_values("index", ignore_index=True)


def _check_rows(name: str, found: pd.Series, reference: str, expected: pd.Series) -> None:
    if found.is_unique and expected.is_unique and set(found) == set(expected):
        return
    twice = sorted(set(found[found.duplicated()]) | set(expected[expected.duplicated()]))
    raise DataError(
        f"expected {name} to have the rows of {reference}, each once; found twice: {twice}; "
        f"only in {name}: {sorted(set(found) - set(expected))}; only in {reference}: {sorted(set(expected) - set(found))}"
    )


def _check_place(folder: Path) -> None:
    """Refuse to replace a folder that holds anything but an earlier release."""
    if folder.exists() and any(folder.iterdir()) and not (folder / OWN_FILE).exists():
        raise DataError(f"{folder}: expected no folder, an empty one or an earlier release to replace, found other files")


def _copy_volumes(manifest: Path, folder: Path) -> None:
    for row in read_manifest(manifest)["rows"]:
        path = folder / row["path"]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(read_member(manifest, row))


def _write_texts(folder: Path, given: Given, table: pd.DataFrame, figures: dict[str, Any]) -> None:
    own, spacing_mm = given.own(Release), given.grid.spacing_mm
    described = [column for column in (*REQUESTED, *MEASURED) if column.name not in ("index", "participant_id", "seed", "noise_index")]
    write_json(folder / "dataset_description.json", bids.dataset_description(own.name, own.license, __version__))
    write_json(folder / "T1w.json", bids.volume_sidecar(own.skull_stripped, spacing_mm))
    write_tsv(folder / "participants.tsv", bids.participants_table(table, described))
    write_json(folder / "participants.json", bids.participants_sidecar(described))
    write_text(folder / "README", bids.readme(own.name, len(table), spacing_mm, own.license, figures))
    write_text(folder / "CHANGES", bids.changes(__version__))
    write_text(folder / bids.IGNORED, bids.NOT_BIDS)


def _seal(folder: Path, checksums: str, own: Release) -> str:
    """Write the checksums of every file, then the torrent of every file and the checksums; returns the infohash."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    write_checksums(folder / checksums, files)
    return write_torrent(folder / f"{own.name}.torrent", folder, [*files, folder / checksums], own.name, own.piece_length)
