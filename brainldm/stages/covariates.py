"""Gather the covariates of all scans: in the batches' QC tables and volumes, out the one table that every training reads."""

import logging
import os
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm.core.config import Covariates, read_section
from brainldm.core.covariates import covariate_array, ranges_of
from brainldm.core.errors import DataError
from brainldm.core.labels import from_columns_mm3, summary_ml
from brainldm.formats.manifest import SPLITS
from brainldm.formats.tables import read_tsv, write_tsv

KEPT = ["participant_id", "session", "split", "age_years", "sex", "volume"]
MEASURED = ["ventricles_ml", "brain_ml"]
NAMED = 10


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    qc: Annotated[list[Path], typer.Option(help="QC table of a batch; repeat for every batch")],
    out: Annotated[Path, typer.Option(help="table of covariates to write")],
    segment: Annotated[list[Path] | None, typer.Option(help="table of volumes of a batch, in the order of the QC tables")] = None,
) -> None:
    """Scans that preprocessing marked bad are left out; the others keep the order of the manifest."""
    options = read_section(section, "covariates").own(Covariates)
    out.parent.mkdir(parents=True, exist_ok=True)  # the volumes' paths lead through it
    if options.volumes == "manifest":
        tables = [_scans(path, out.parent, [*KEPT, *MEASURED]) for path in qc]
    else:
        tables = [_measured(path, volumes, out.parent) for path, volumes in zip(qc, segment or [], strict=True)]
    table = pd.concat(tables, ignore_index=True)
    write_tsv(out, _complete(table, qc, options.volumes))


def _scans(qc: Path, folder: Path, columns: list[str]) -> pd.DataFrame:
    """The good scans of a batch; their volumes' paths are relative to `folder`."""
    table = read_tsv(qc, [*columns, "status"])
    table = table[table["status"] == "ok"]
    return table[columns].assign(volume=[os.path.relpath(qc.parent / name, folder) for name in table["volume"]]).reset_index(drop=True)


def _measured(qc: Path, volumes: Path, folder: Path) -> pd.DataFrame:
    scans, found = _scans(qc, folder, KEPT), read_tsv(volumes, ["volume"])
    if [Path(name).name for name in scans["volume"]] != found["volume"].tolist():
        raise DataError(f"{volumes}: expected the volumes of the good scans of {qc}, in their order, found those of others")
    label_ml = from_columns_mm3({name: found[name].to_numpy(float) for name in found.columns[1:]})
    return pd.concat([scans, pd.DataFrame(summary_ml(label_ml)).round(4)], axis=1) if len(scans) else scans


def _complete(table: pd.DataFrame, qc: list[Path], source: str) -> pd.DataFrame:
    """The scans that have both volumes; DataError unless some of them are of each split and all covariates vary over the training scans."""
    named = ", ".join(map(str, qc))
    known = np.isfinite(table[MEASURED].to_numpy(float)).all(1) if len(table) else np.zeros(0, bool)
    if not known.all():
        left_out = table["participant_id"][~known].tolist()
        shown = ", ".join(left_out[:NAMED]) + (" ..." if len(left_out) > NAMED else "")
        logging.warning("left out: %d scans without ventricles_ml or brain_ml (covariates.volumes: %s): %s", len(left_out), source, shown)
    table = table[known].reset_index(drop=True)
    for split in SPLITS:
        if not (table["split"] == split).any():
            raise DataError(f"{named}: expected scans of the split {split!r} with status ok and with volumes, found none")
    ranges_of(covariate_array(table[table["split"] == "train"]), named)
    return table
