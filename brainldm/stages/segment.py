"""Segment one batch of preprocessed scans: in its QC table, out label maps and their volumes in mm3 under SynthSeg's names."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from rich.progress import track

from brainldm.core.config import Inference, read_section
from brainldm.core.labels import columns_mm3
from brainldm.formats.nifti import encode_labels, read_volume, write_bytes
from brainldm.formats.tables import read_tsv, write_tsv
from brainldm.formats.volumes import chunks
from brainldm.models import ruler
from brainldm.models.training import make_fabric

ENDING = "_T1w.nii.gz"


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    qc: Annotated[Path, typer.Option(help="QC table of the batch")],
    segmenter: Annotated[Path, typer.Option(help="what measures volumes (models.ruler)")],
    out: Annotated[Path, typer.Option(help="table of volumes to write; the label maps go beside it")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """One row for every scan that preprocessing did not mark bad, in the order of the batch."""
    given = read_section(section, "segment")
    table = read_tsv(qc, ["participant_id", "status", "volume"])
    names = table["volume"][table["status"] == "ok"].tolist()
    fabric = make_fabric(device, given.precision, given.seed)
    measuring = ruler.load(segmenter, given.grid, fabric)
    parts = [pd.DataFrame({"volume": []})]
    for chunk in track(chunks(len(names), given.own(Inference).batch_size), "segment"):
        chosen = [names[place] for place in chunk]
        images = np.stack([read_volume(qc.parent / name, given.grid) for name in chosen])[:, None]
        found = measuring.segment(torch.from_numpy(images).to(fabric.device))
        for name, labels in zip(chosen, found.labels, strict=True):
            write_bytes(out.parent / f"{name.removesuffix(ENDING)}_dseg.nii.gz", encode_labels(labels, found.affine, "brainldm segment"))
        parts.append(pd.DataFrame({"volume": chosen, **columns_mm3(found.label_ml)}).round(3))
    write_tsv(out, pd.concat(parts, ignore_index=True))
