"""Measure one shard of synthetic volumes: segmented volumes, predicted age, and a quality check of every row."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from brainldm.core.config import read_section
from brainldm.core.judging import Measure, Quality
from brainldm.core.labels import columns_mm3, summary_ml
from brainldm.formats.shards import iterate_volumes, read_manifest
from brainldm.formats.tables import write_parquet
from brainldm.formats.volumes import chunks
from brainldm.metrics.sharpness import sharpness
from brainldm.models import age, ruler
from brainldm.models.training import make_fabric


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
    options = given.own(Measure)
    fabric = make_fabric(device, given.precision, given.seed)
    measuring, years = ruler.load(segmenter_model, given.grid, fabric), fabric.setup_module(age.load(age_model))
    years.mark_forward_method("predict")
    rows = read_manifest(shard)["rows"]
    volumes = iterate_volumes(shard, given.grid)
    parts = []
    for chunk in chunks(len(rows), options.batch_size):
        images = np.stack([next(volumes)[1] for _ in chunk])[:, None]
        tensor = torch.from_numpy(images).to(fabric.device)
        label_ml = measuring.segment(tensor).label_ml
        measured = pd.DataFrame({**summary_ml(label_ml), "age_predicted_years": years.predict(tensor), "sharpness": sharpness(images)})
        parts.append(pd.concat([measured, quality(images, measured, options.quality), pd.DataFrame(columns_mm3(label_ml))], axis=1))
    identity = pd.DataFrame({key: [row[key] for row in rows] for key in ("index", "participant_id")})
    write_parquet(out, pd.concat([identity, pd.concat(parts, ignore_index=True)], axis=1))


def quality(images: np.ndarray, measured: pd.DataFrame, rules: Quality) -> pd.DataFrame:
    """qc_pass and qc_reason of images [N,1,I,J,K]: finite, neither empty nor saturated, sharp, a plausible brain inside the skull."""
    icv_ml = measured["icv_ml"].clip(lower=1)
    checks = {
        "not finite": ~np.isfinite(images).all((1, 2, 3, 4)),
        "empty": images.std((1, 2, 3, 4)) < rules.min_spread,
        "saturated": (images > 1.2).mean((1, 2, 3, 4)) > rules.max_saturated,
        "implausible brain": ~(measured["tissue_ml"] / icv_ml).between(*rules.brain_fraction).to_numpy(),
        "implausible ventricles": ~(measured["ventricles_ml"] / icv_ml).between(*rules.ventricles_fraction).to_numpy(),
        "blurred or noisy": ~measured["sharpness"].between(*(rules.sharpness or (0, np.inf))).to_numpy(),
    }
    reasons = ["; ".join(name for name, failed in checks.items() if failed[row]) for row in range(len(images))]
    return pd.DataFrame({"qc_pass": [not reason for reason in reasons], "qc_reason": reasons})
