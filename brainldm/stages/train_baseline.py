"""Train one of the paper's competitors, LSGAN or VAE-GAN: real scans in, a checkpoint of its generator out."""

from pathlib import Path
from typing import Annotated, Literal

import torch
import typer

from brainldm.core.config import TrainBaseline, read_section
from brainldm.formats.volumes import VolumeSet, mean_and_spread
from brainldm.models import baselines, checkpoint
from brainldm.models.training import Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    method: Annotated[Literal["lsgan", "vaegan"], typer.Option(help="Mao et al. 2017 or Larsen et al. 2016")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Generator and critic take turns; nothing is conditioned on covariates, of which only the split is read."""
    given = read_section(section, "train_baseline")
    options = given.own(TrainBaseline)
    scans = VolumeSet(covariates, given.grid, "train")
    fabric = make_fabric(device, given.precision, given.seed)
    generator, network, critic = baselines.build(options, method, given.grid)
    if options.standardise:
        generator.standardise(*mean_and_spread(scans))
    trained = Optimizer(fabric, network, options, beta1=options.beta1)
    judging = Optimizer(fabric, critic, options, options.critic_learning_rate, beta1=options.beta1)
    draw = batches(len(scans), options.batch_size, given.seed)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        images = torch.from_numpy(scans.batch(draw(index)[mine])).to(fabric.device)
        noise = torch.randn((2, options.batch_size, *generator.noise_shape), device=fabric.device)[:, mine]
        return baselines.STEPS[method](trained, judging, (images - generator.mean) / generator.spread, noise, options)

    def save() -> None:
        checkpoint.save(out, generator.state_dict(), generator.spec)

    parts, inputs = {"generator": trained, "critic": judging}, [section, covariates]
    run(fabric, options, step, out.with_name("log.csv"), method, parts, inputs, save, given.seed)
