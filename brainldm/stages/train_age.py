"""Train the age model, on the real training scans and, where shards of them are given, on synthetic volumes: out one checkpoint."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from brainldm.core.config import TrainAge, read_section
from brainldm.core.errors import ConfigError
from brainldm.core.grid import Grid
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.tables import read_rows
from brainldm.formats.volumes import Joined, Volumes, VolumeSet, mean_and_spread
from brainldm.models import checkpoint
from brainldm.models.age import AgeModel, augment
from brainldm.models.training import Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    covariates: Annotated[Path | None, typer.Option(help="table of covariates; without it no real scans")] = None,
    shard: Annotated[list[Path] | None, typer.Option(help="manifest of a shard of synthetic volumes; repeat for every one")] = None,
    request: Annotated[list[Path] | None, typer.Option(help="request table of such a shard, with its ages; repeat for every one")] = None,
    repeat: Annotated[int, typer.Option(help="trainings of other repeats start from other weights and draw other batches", min=0)] = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """L1 loss on standardised age, with augmentation that keeps the anatomy."""
    given = read_section(section, "train_age")
    options, seed = given.own(TrainAge), int(np.random.SeedSequence([given.seed, repeat]).generate_state(1)[0]) if repeat else given.seed
    volumes, ages = _trained_on(covariates, shard or [], request or [], given.grid)
    fabric = make_fabric(device, given.precision, seed)
    centre, spread = float(np.round(ages.mean())), float(max(np.round(ages.std()), 1))  # in full they would tell the age of a last person
    moments = {"age_mean": centre, "age_sd": spread}
    architecture = {"channels": options.channels, "space_to_depth": options.space_to_depth, "shape": given.grid.shape}
    network = AgeModel({"kind": "age", **architecture, **moments})
    network.standardise(*mean_and_spread(volumes))
    optimizer = Optimizer(fabric, network, options)
    draw = batches(len(volumes), options.batch_size, seed)
    targets = torch.from_numpy((ages - np.float32(centre)) / np.float32(spread)).to(fabric.device)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        chosen = draw(index)[mine]
        images = torch.from_numpy(volumes.batch(chosen)).to(fabric.device)
        keys = range(options.batch_size)[mine]
        images = torch.stack(
            [augment(image, np.random.default_rng([seed, 2, index, key])) for image, key in zip(images, keys, strict=True)]
        )
        l1 = (optimizer.network(images) - targets[chosen]).abs().mean()
        optimizer.step(l1)
        return {"l1": l1}

    def save() -> None:
        checkpoint.save(out, network.state_dict(), network.spec)

    inputs = [section, *([covariates] if covariates else []), *(shard or []), *(request or [])]
    run(fabric, options, step, out.with_name("log.csv"), "age model", {"optimizer": optimizer}, inputs, save, seed)


def _trained_on(covariates: Path | None, shards: list[Path], requests: list[Path], grid: Grid) -> tuple[Joined, np.ndarray]:
    """The volumes and their ages [N] in years, float32: those of the scans, and those that synthetic volumes were asked for."""
    if not (covariates or shards) or bool(shards) != bool(requests):
        raise ConfigError("train_age: expected --covariates, or --shard with its --request, or all three")
    sets: list[tuple[Volumes, pd.Series]] = []
    if covariates:
        scans = VolumeSet(covariates, grid, "train")
        sets.append((scans, scans.table["age_years"]))
    if shards:
        made = ShardSet(shards, grid)
        sets.append((made, read_rows(requests, ("index", "age_years"), made.indices)["age_years"]))
    return Joined([volumes for volumes, _ in sets]), np.concatenate([ages.to_numpy(np.float32) for _, ages in sets])
