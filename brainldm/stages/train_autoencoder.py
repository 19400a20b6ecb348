"""Train the autoencoder: L1 + gradient L1 + perceptual + patch adversarial + KL; out one checkpoint."""

from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

from brainldm.core.config import Given, TrainAutoencoder, read_section
from brainldm.core.errors import ConfigError
from brainldm.formats.volumes import VolumeSet, mean_and_spread
from brainldm.models import autoencoder, checkpoint, perceptual
from brainldm.models.losses import generator_adversarial, gradient_l1, kl_divergence, patch_adversarial
from brainldm.models.training import Optimizer, batches, make_fabric, run


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    covariates: Annotated[Path, typer.Option(help="table of covariates")],
    features: Annotated[Path, typer.Option(help="network whose features the perceptual loss compares")],
    out: Annotated[Path, typer.Option(help="checkpoint to write")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Generator and discriminator steps take turns from `adversarial_start` on."""
    given = read_section(section, "train_autoencoder")
    options = given.own(TrainAutoencoder)
    scans = VolumeSet(covariates, given.grid, "train")
    fabric = make_fabric(device, given.precision, given.seed)
    network = _built(options, given, scans)
    optimizer = Optimizer(fabric, network, options)
    critic = PatchDiscriminator(3, options.discriminator_channels, 1, num_layers_d=2, norm=("GROUP", {"num_groups": 4}))
    critic_optimizer = Optimizer(fabric, critic, options, options.discriminator_learning_rate)
    compare = perceptual.load(options, features, fabric.device)
    draw = batches(len(scans), options.batch_size, given.seed)

    def step(index: int, mine: slice) -> dict[str, torch.Tensor]:
        images = torch.from_numpy(cropped(scans.batch(draw(index)[mine]), options, [given.seed, 4, index], mine)).to(fabric.device)
        if np.random.default_rng([given.seed, 3, index]).random() < 0.5:  # the two halves of a brain: twice the scans
            images = images.flip(2)
        noise = torch.randn((options.batch_size, *network.latent_shape(images.shape[2:])), device=fabric.device)[mine]
        reconstruction, mu, sigma = optimizer.network(images, noise)
        losses = {
            "l1": (options.l1_weight, (reconstruction - images).abs().mean()),
            "gradient_l1": (options.gradient_weight, gradient_l1(reconstruction, images)),
            "kl": (options.kl_weight, kl_divergence(mu, sigma)),
        }
        if options.perceptual_weight > 0:
            losses["perceptual"] = (options.perceptual_weight, compare(reconstruction, images))
        if options.adversarial_weight > 0 and index >= options.adversarial_start:
            with fabric.autocast():
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


def _built(options: TrainAutoencoder, given: Given, scans: VolumeSet) -> autoencoder.Autoencoder:
    if any(edge > side for edge, side in zip(options.patch_shape or (), given.grid.shape, strict=False)):
        raise ConfigError(f"train_autoencoder.patch_shape: expected it to fit the grid {given.grid.shape}, found {options.patch_shape}")
    network = autoencoder.build(options, given.grid)
    if options.standardise:
        network.standardise(*mean_and_spread(scans))
    if options.recompute:
        network.save_memory()
    return network


def cropped(images: np.ndarray, options: TrainAutoencoder, key: list[int], mine: slice) -> np.ndarray:
    """Images [N,1,I,J,K], the part `mine` of a batch, or as long as there are steps on crops, a random crop of each, by key and place."""
    steps = options.steps if options.patch_steps is None else options.patch_steps
    if options.patch_shape is None or key[-1] >= steps:
        return images
    parts = []
    for image, place in zip(images, range(options.batch_size)[mine], strict=True):
        generator = np.random.default_rng([*key, place])
        corner = [generator.integers(side - edge + 1) for side, edge in zip(image.shape[1:], options.patch_shape, strict=True)]
        parts.append(image[:, *(slice(start, start + edge) for start, edge in zip(corner, options.patch_shape, strict=True))])
    return np.stack(parts)
