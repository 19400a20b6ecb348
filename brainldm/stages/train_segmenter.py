"""Train the segmenter on images synthesised from label maps, and on nothing else: out one checkpoint, and its Dice on maps held out."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import nibabel as nib
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
import typer
from rich.progress import track

from brainldm.core.config import Given, TrainSegmenter, read_section
from brainldm.core.errors import DataError, ScanError
from brainldm.core.grid import Grid
from brainldm.core.labels import CSF, NAMES
from brainldm.formats.scan import open_image
from brainldm.formats.tables import read_tsv, write_tsv
from brainldm.imaging.register import register
from brainldm.models import checkpoint, segmenter
from brainldm.models.generation_labels import recognised, t1_image, unknown
from brainldm.models.label_images import LabelMap, draw, label_map, synthesise
from brainldm.models.training import Optimizer, make_fabric, run

ALIGN_MM = 4.0
ALIKE = 0.75  # similarity to the template at which a label map counts as aligned
SUFFIXES = (".nii", ".nii.gz", ".mgz")
N_TESTS = 8  # images of every map that is held out


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    labels: Annotated[Path, typer.Option(help="folder of label maps, or TSV with a column dseg of paths relative to it")],
    out: Annotated[Path, typer.Option(help="checkpoint to write; dice.tsv and the log go beside it")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """A fresh image at every step, drawn from its number: of any of the label maps but the last `held_out_maps`."""
    given = read_section(section, "train_segmenter")
    options = given.own(TrainSegmenter)
    fabric = make_fabric(device, given.precision, given.seed)
    paths = label_paths(labels, options.held_out_maps)
    maps, told_apart = read_maps(paths, options.align, given, fabric.device)
    train, held_out = maps[: -options.held_out_maps], maps[-options.held_out_maps :]
    network = segmenter.build(options, given.grid, told_apart)
    optimizer = Optimizer(fabric, network, options)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        generators = [np.random.default_rng([given.seed, index, place]) for place in range(options.batch_size)[mine]]
        chosen = [train[generator.integers(len(train))] for generator in generators]
        images, target = images_of(chosen, options, given.grid, told_apart, generators)
        cross_entropy, dice = losses(optimizer.network(images), target)
        optimizer.step(cross_entropy + options.dice_weight * dice)
        return {"cross_entropy": cross_entropy, "dice": dice}

    def save() -> None:
        tests = [
            (one, np.random.default_rng([given.seed, options.steps, place, n]))
            for place, one in enumerate(held_out)
            for n in range(N_TESTS)
        ]
        batches = (images_of([one], options, given.grid, told_apart, [generator]) for one, generator in tests)
        write_tsv(out.with_name("dice.tsv"), dice_table(network.to(fabric.device), batches, told_apart))
        checkpoint.save(out, network.state_dict(), network.spec)

    run(fabric, options, step, out.with_name("log.csv"), "segmenter", {"optimizer": optimizer}, [section, *paths], save, given.seed)


def label_paths(labels: Path, held_out_maps: int) -> list[Path]:
    """The label maps of a folder, by name, or of a table; DataError unless some are left to train on."""
    if labels.is_dir():
        paths = sorted(path for path in labels.iterdir() if path.name.endswith(SUFFIXES))
    else:
        paths = [labels.parent / name for name in read_tsv(labels, ["dseg"])["dseg"]]
    if len(paths) <= held_out_maps:
        raise DataError(f"{labels}: expected more than {held_out_maps} label map(s), which are held out, found {len(paths)}")
    return paths


def read_maps(paths: list[Path], align: bool, given: Given, device: torch.device) -> tuple[list[LabelMap], tuple[int, ...]]:
    """The maps in MNI pose, and the labels that they tell apart."""
    maps, found = [], set()
    for path in track(paths, "segmenter: label maps"):
        labels, affine = _read(path)
        pose = register(t1_image(labels), affine, ALIGN_MM, ALIKE, given.seed).mni_to_native if align else np.eye(4)
        maps.append(label_map(labels, affine, pose, device))
        found |= set(np.unique(labels).tolist())
    if CSF not in found:
        raise DataError(
            f"{paths[0].parent}: expected label maps with csf ({CSF}), which tells the size of the head, found none in {len(paths)}"
        )
    return maps, recognised(found)


def _read(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        image = nib.as_closest_canonical(open_image(path))
        labels = np.asarray(image.dataobj)
    except (ScanError, OSError, ValueError) as error:
        raise DataError(f"{path}: expected a label map, found none that can be read ({error})") from None
    strange = unknown(labels)
    if strange or labels.ndim != 3:
        raise DataError(
            f"{path}: expected a 3-D map of SynthSeg's generation labels, found shape {labels.shape} and other labels {strange}"
        )
    return labels.astype(np.int32), image.affine


def images_of(
    maps: list[LabelMap], options: TrainSegmenter, grid: Grid, labels: tuple[int, ...], generators: list[np.random.Generator]
) -> tuple[torch.Tensor, torch.Tensor]:
    """One new image [N,1,I,J,K] of each map, by a generator of its own, and its fractions [N,L,I,J,K]."""
    pairs = [synthesise(one, draw(options, grid, generator), grid, labels) for one, generator in zip(maps, generators, strict=True)]
    return torch.stack([image for image, _ in pairs]), torch.stack([target for _, target in pairs])


def losses(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy with soft targets, whose optimum gives unbiased volumes, and soft Dice loss, mean over labels."""
    cross_entropy = F.cross_entropy(logits, target)
    posteriors = logits.softmax(1)
    overlap = 2 * (posteriors * target).sum((0, 2, 3, 4)) / (posteriors**2 + target**2).sum((0, 2, 3, 4)).clamp(min=1e-3)
    return cross_entropy, 1 - overlap.mean()


@torch.inference_mode()
def dice_table(
    network: Callable[[torch.Tensor], torch.Tensor], batches: Iterable[tuple[torch.Tensor, torch.Tensor]], labels: tuple[int, ...]
) -> pd.DataFrame:
    """Dice of the winning labels on images of maps that were held out: mean, lowest, and the number of images that show the label."""
    scores = torch.cat([_dice(network(images), target) for images, target in batches]).cpu().numpy()
    shown = [scores[:, place][~np.isnan(scores[:, place])] for place in range(len(labels))]
    rows = [
        (label, NAMES[label], values.mean(), values.min(), len(values)) for label, values in zip(labels, shown, strict=True) if len(values)
    ]
    return pd.DataFrame(rows, columns=["label", "name", "dice", "dice_min", "n"]).round(4)


def _dice(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """[N,L]; nan where the target has none of a label."""
    found, wanted = (F.one_hot(values.argmax(1), values.shape[1]).flatten(1, 3).float() for values in (logits, target))
    overlap = 2 * (found * wanted).sum(1) / (found + wanted).sum(1)
    return torch.where(wanted.sum(1) > 0, overlap, torch.nan)
