"""Measure one shard of synthetic volumes: segmented volumes, predicted age, and a quality check of every row."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm import measuring
from brainldm.core.config import read_section
from brainldm.core.judging import Measure
from brainldm.formats.shards import iterate_volumes, read_manifest
from brainldm.formats.tables import write_parquet
from brainldm.formats.volumes import chunks
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
    instruments = measuring.load(segmenter_model, age_model, given.grid, make_fabric(device, given.precision, given.seed))
    rows = read_manifest(shard)["rows"]
    volumes = iterate_volumes(shard, given.grid)
    batches = (np.stack([next(volumes)[1] for _ in chunk])[:, None] for chunk in chunks(len(rows), options.batch_size))
    parts = [instruments.measure(images, options.quality) for images in batches]
    identity = pd.DataFrame({key: [row[key] for row in rows] for key in ("index", "participant_id")})
    write_parquet(out, pd.concat([identity, pd.concat(parts, ignore_index=True)], axis=1))
