"""Train the segmenter on images synthesised from label maps: in a folder of dseg files, out one checkpoint."""

from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
import torch
import torch.nn.functional as F
import typer

from brainldm.core.config import Given, TrainSegmenter, read_section
from brainldm.core.labels import VALUES
from brainldm.formats.tables import read_tsv
from brainldm.models import checkpoint, segmenter
from brainldm.models.label_images import rasterise, synthesise
from brainldm.models.training import Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    labels: Annotated[Path, typer.Option(help="TSV with a column dseg: label maps, relative to the table")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Rasterise every label map `variants` times, then train on fresh images of them at every step."""
    given = read_section(section, "train_segmenter")
    options = given.own(TrainSegmenter)
    fractions = _fractions(labels, given, options.variants)
    fabric = make_fabric(device, given.precision, given.seed)
    network = segmenter.build(options, given.grid)
    optimizer = Optimizer(fabric, network, options)
    draw = batches(len(fractions), options.batch_size, given.seed)
    generator = np.random.default_rng([given.seed, 1])

    def step(_: int) -> dict[str, torch.Tensor]:
        target = fractions[draw()].float().to(fabric.device)
        cross_entropy, dice = losses(optimizer.network(synthesise(target, options.any_contrast, generator)), target)
        optimizer.step(cross_entropy + 0.2 * dice)
        return {"cross_entropy": cross_entropy, "dice": dice}

    run(step, options.steps, out.with_name("log.csv"), "segmenter")
    checkpoint.save(out, network.state_dict(), network.spec)


def losses(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy with soft targets, whose optimum gives unbiased volumes, and soft Dice loss, mean over labels."""
    cross_entropy = F.cross_entropy(logits, target)
    posteriors = logits.softmax(1)
    overlap = 2 * (posteriors * target).sum((0, 2, 3, 4)) / (posteriors**2 + target**2).sum((0, 2, 3, 4)).clamp(min=1e-3)
    return cross_entropy, 1 - overlap.mean()


def _fractions(labels: Path, given: Given, variants: int) -> torch.Tensor:
    generator = np.random.default_rng([given.seed, len(VALUES)])
    rasters = []
    for name in read_tsv(labels, ["dseg"])["dseg"]:
        image = nib.Nifti1Image.from_filename(labels.parent / name)
        values = np.asarray(image.dataobj)
        rasters += [rasterise(values, image.affine, given.grid, generator) for _ in range(variants)]
    return torch.stack(rasters)
