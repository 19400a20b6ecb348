"""Train the age model on the real training scans: in the table of covariates, out one checkpoint."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer

from brainldm.core.config import TrainAge, read_section
from brainldm.formats.volumes import VolumeSet, mean_and_spread
from brainldm.models import checkpoint
from brainldm.models.age import AgeModel, augment
from brainldm.models.training import Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """L1 loss on standardised age, with augmentation that keeps the anatomy."""
    given = read_section(section, "train_age")
    options = given.own(TrainAge)
    scans = VolumeSet(covariates, given.grid, "train")
    ages = scans.table["age_years"].to_numpy(np.float32)
    fabric = make_fabric(device, given.precision, given.seed)
    moments = {"age_mean": float(ages.mean()), "age_sd": float(ages.std())}
    architecture = {"channels": options.channels, "space_to_depth": options.space_to_depth, "shape": given.grid.shape}
    network = AgeModel({"kind": "age", **architecture, **moments})
    network.standardise(*mean_and_spread(scans))
    optimizer = Optimizer(fabric, network, options)
    draw = batches(len(scans), options.batch_size, given.seed)
    targets = torch.from_numpy((ages - ages.mean()) / ages.std()).to(fabric.device)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        chosen = draw(index)[mine]
        images = torch.from_numpy(scans.batch(chosen)).to(fabric.device)
        keys = range(options.batch_size)[mine]
        images = torch.stack(
            [augment(image, np.random.default_rng([given.seed, 2, index, key])) for image, key in zip(images, keys, strict=True)]
        )
        l1 = (optimizer.network(images) - targets[chosen]).abs().mean()
        optimizer.step(l1)
        return {"l1": l1}

    def save() -> None:
        checkpoint.save(out, network.state_dict(), network.spec)

    run(
        fabric,
        options,
        step,
        out.with_name("log.csv"),
        "age model",
        {"optimizer": optimizer},
        [section, covariates],
        save,
        given.seed,
    )
