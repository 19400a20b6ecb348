"""Train the autoencoder: L1 + gradient L1 + perceptual + patch adversarial + KL; out one checkpoint."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

from brainldm.core.config import TrainAutoencoder, read_section
from brainldm.formats.volumes import VolumeSet, mean_and_spread
from brainldm.models import autoencoder, checkpoint, segmenter
from brainldm.models.losses import generator_adversarial, gradient_l1, kl_divergence, patch_adversarial, perceptual
from brainldm.models.training import Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    features: Annotated[Path, typer.Option(help="segmenter checkpoint, whose features the perceptual loss compares")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Generator and discriminator steps take turns from `adversarial_start` on."""
    given = read_section(section, "train_autoencoder")
    options = given.own(TrainAutoencoder)
    scans = VolumeSet(covariates, given.grid, "train")
    fabric = make_fabric(device, given.precision, given.seed)
    network = autoencoder.build(options, given.grid)
    if options.standardise:
        network.standardise(*mean_and_spread(scans))
    optimizer = Optimizer(fabric, network, options)
    critic = PatchDiscriminator(3, options.discriminator_channels, 1, num_layers_d=2, norm=("GROUP", {"num_groups": 4}))
    critic_optimizer = Optimizer(fabric, critic, options, options.discriminator_learning_rate)
    extractor = segmenter.load(features).to(fabric.device)
    draw = batches(len(scans), options.batch_size, given.seed)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        images = torch.from_numpy(scans.batch(draw(index)[mine])).to(fabric.device)
        if np.random.default_rng([given.seed, 3, index]).random() < 0.5:  # the two halves of a brain: twice the scans
            images = images.flip(2)
        noise = torch.randn((options.batch_size, *network.latent_shape(given.grid.shape)), device=fabric.device)[mine]
        reconstruction, mu, sigma = optimizer.network(images, noise)
        losses = {
            "l1": (options.l1_weight, (reconstruction - images).abs().mean()),
            "gradient_l1": (options.gradient_weight, gradient_l1(reconstruction, images)),
            "kl": (options.kl_weight, kl_divergence(mu, sigma)),
        }
        if options.perceptual_weight > 0:
            losses["perceptual"] = (options.perceptual_weight, perceptual(extractor, reconstruction, images))
        if options.adversarial_weight > 0 and index >= options.adversarial_start:
            losses["adversarial"] = (options.adversarial_weight, generator_adversarial(critic, reconstruction))
        optimizer.step(torch.stack([weight * loss for weight, loss in losses.values()]).sum())
        values = {name: loss for name, (_, loss) in losses.items()}
        if "adversarial" in losses:
            values["discriminator"] = patch_adversarial(critic_optimizer.network, reconstruction.detach(), images)
            critic_optimizer.step(values["discriminator"])
        return values

    def save() -> None:
        checkpoint.save(out, network.state_dict(), network.spec)

    parts, inputs = {"optimizer": optimizer, "critic": critic_optimizer}, [section, covariates, features]
    run(fabric, options, step, out.with_name("log.csv"), "autoencoder", parts, inputs, save, given.seed)
