"""Measure one shard of synthetic volumes: segmented volumes, predicted age, and a quality check of every row."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from brainldm.core.config import Inference, read_section
from brainldm.formats.shards import iterate_volumes, read_manifest
from brainldm.formats.tables import write_parquet
from brainldm.formats.volumes import chunks
from brainldm.models import age, ruler
from brainldm.models.training import make_fabric

BRAIN_FRACTION = (0.5, 1.0)  # of the intracranial volume; outside lies no living brain


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    shard: Annotated[Path, typer.Option(help="manifest of the shard")],
    segmenter_model: Annotated[Path, typer.Option("--segmenter", help="what measures volumes (models.ruler)")],
    age_model: Annotated[Path, typer.Option("--age", help="age model checkpoint")],
    out: Annotated[Path, typer.Option(help="Parquet table to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """One row per volume, in the order of the shard."""
    given = read_section(section, "measure")
    fabric = make_fabric(device, given.precision, given.seed)
    measuring, years = ruler.load(segmenter_model, given.grid, fabric), fabric.setup_module(age.load(age_model))
    years.mark_forward_method("predict")
    rows = read_manifest(shard)["rows"]
    volumes = iterate_volumes(shard, given.grid)
    parts = []
    for chunk in chunks(len(rows), given.own(Inference).batch_size):
        images = np.stack([next(volumes)[1] for _ in chunk])[:, None]
        tensor = torch.from_numpy(images).to(fabric.device)
        measured = pd.DataFrame({**ruler.volumes_ml(measuring, tensor), "age_predicted_years": years.predict(tensor)})
        parts.append(pd.concat([measured, quality(images, measured)], axis=1))
    identity = pd.DataFrame({key: [row[key] for row in rows] for key in ("index", "participant_id")})
    write_parquet(out, pd.concat([identity, pd.concat(parts, ignore_index=True)], axis=1))


def quality(images: np.ndarray, measured: pd.DataFrame) -> pd.DataFrame:
    """qc_pass and qc_reason of images [N,1,I,J,K]: finite, neither empty nor saturated, a plausible brain inside the skull."""
    fraction = measured["tissue_ml"] / measured["icv_ml"].clip(lower=1)
    checks = {
        "not finite": ~np.isfinite(images).all((1, 2, 3, 4)),
        "empty": images.std((1, 2, 3, 4)) < 0.02,
        "saturated": (images > 1.2).mean((1, 2, 3, 4)) > 0.01,
        "implausible brain": ~fraction.between(*BRAIN_FRACTION).to_numpy(),
    }
    reasons = ["; ".join(name for name, failed in checks.items() if failed[row]) for row in range(len(images))]
    return pd.DataFrame({"qc_pass": [not reason for reason in reasons], "qc_reason": reasons})
