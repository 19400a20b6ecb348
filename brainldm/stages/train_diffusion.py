"""Train the latent diffusion model on cached latents and covariates: out one checkpoint, the exponential moving average of the weights."""

from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from brainldm.core import copula
from brainldm.core.config import TrainDiffusion, read_section
from brainldm.core.covariates import covariate_array
from brainldm.formats.tables import read_tsv
from brainldm.formats.volumes import COLUMNS
from brainldm.models import checkpoint, denoising, diffusion
from brainldm.models import latents as cache
from brainldm.models.training import HasState, Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    covariate_model: Annotated[Path, typer.Option(help="model of the training covariates, whose rounded bounds scale the conditions")],
    latents: Annotated[Path, typer.Option(help="manifest of the cached latents of the same table")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Mean squared error of the predicted noise or velocity at uniform timesteps; no augmentation, which would falsify covariates."""
    given = read_section(section, "train_diffusion")
    options = given.own(TrainDiffusion)
    table, moments = _training_rows(covariates, latents)
    ranges = copula.read(covariate_model).ranges()
    fabric = make_fabric(device, given.precision, given.seed)
    network = diffusion.build(options, tuple(moments.mu[0].shape), ranges)
    conditions = torch.from_numpy(ranges.scale(covariate_array(table)))
    if options.standardise:
        network.standardise(moments.batch(range(len(moments)))[0], conditions)
    else:
        network.latent_spread.fill_(spread := moments.spread())
        network.spec["scale_factor"] = 1 / spread  # for people and other programs: the network divides by its latent_spread
    conditions = conditions.to(fabric.device)
    optimizer = Optimizer(fabric, network, options)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(options.ema_decay))
    draw = batches(len(table), options.batch_size, given.seed)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        rows = draw(index)[mine]
        mu, sigma = (values.to(fabric.device) for values in moments.batch(rows))
        drawn = denoising.draw(options, network.latent_shape, mine, fabric.device)
        clean = network.from_latents(mu, conditions[rows]) + sigma / network.latent_spread * drawn.latent_noise
        signal, spread = network.schedule.coefficients(drawn.timesteps, clean.ndim)
        predicted = optimizer.network(signal * clean + spread * drawn.noise, drawn.timesteps, conditions[rows], drawn.dropped)
        target = network.target(clean, drawn.noise, drawn.timesteps)
        loss, values = denoising.loss(network, predicted, target, drawn.timesteps, options)
        if optimizer.step(loss) and index >= options.warmup_steps:
            average.update_parameters(network)
        return values

    def save() -> None:
        checkpoint.save(out, average.module.state_dict(), network.spec)

    parts: dict[str, HasState] = {"optimizer": optimizer, "average": average}
    inputs = [section, covariates, covariate_model, latents]
    run(fabric, options, step, out.with_name("log.csv"), "diffusion", parts, inputs, save, given.seed)


def _training_rows(covariates: Path, manifest: Path) -> tuple[pd.DataFrame, cache.Latents]:
    """The training split of the table with its latent moments; DataError unless both files are of the same scans."""
    table = read_tsv(covariates, COLUMNS)
    moments = cache.load(manifest, table["participant_id"].tolist())
    chosen = (table["split"] == "train").to_numpy()
    return table[chosen], moments.of(chosen.nonzero()[0])
