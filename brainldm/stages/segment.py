"""Measure the volumes of the preprocessed scans: in the batches' QC tables, out the table of covariates."""

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from brainldm.core.config import Inference, read_section
from brainldm.core.errors import DataError
from brainldm.formats.nifti import read_volume
from brainldm.formats.tables import read_tsv, write_tsv
from brainldm.formats.volumes import chunks
from brainldm.models import segmenter
from brainldm.models.training import make_fabric

KEPT = ["participant_id", "split", "age_years", "sex", "volume"]


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    qc: Annotated[list[Path], typer.Option(help="QC table of a batch; repeat for every batch")],
    model: Annotated[Path, typer.Option(help="segmenter checkpoint")],
    out: Annotated[Path, typer.Option(help="table of covariates to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Scans that preprocessing marked bad are left out; the others keep the order of the manifest."""
    given = read_section(section, "segment")
    out.parent.mkdir(parents=True, exist_ok=True)  # the volumes' paths lead through it
    table = _good_scans(qc, out.parent)
    fabric = make_fabric(device, given.precision, given.seed)
    network = fabric.setup_module(segmenter.load(model))
    network.mark_forward_method("volumes_ml")
    parts = []
    for chunk in chunks(len(table), given.own(Inference).batch_size):
        volumes = np.stack([read_volume(out.parent / table["volume"][index], given.grid) for index in chunk])
        parts.append(pd.DataFrame(network.volumes_ml(torch.from_numpy(volumes[:, None]).to(fabric.device))))
    write_tsv(out, pd.concat([table, pd.concat(parts, ignore_index=True).round(4)], axis=1))


def _good_scans(qc: list[Path], folder: Path) -> pd.DataFrame:
    tables = []
    for path in qc:
        table = read_tsv(path, [*KEPT, "status"])
        table = table[table["status"] == "ok"].copy()
        table["volume"] = [os.path.relpath(path.parent / name, folder) for name in table["volume"]]
        tables.append(table[KEPT])
    merged = pd.concat(tables, ignore_index=True)
    if merged.empty:
        raise DataError(f"{', '.join(map(str, qc))}: expected scans with status ok, found none")
    return merged
