"""The paper's competitors (its Table 1), in 3-D and unconditional: LSGAN (Mao et al. 2017) and VAE-GAN (Larsen et al. 2016).

A generator makes volumes of noise, a critic reads volumes; VAE-GAN's encoder is of the critic's shape. Neither paper is about volumes, and
what was trained for Table 1 is not public: losses are theirs, networks are ours, of MONAI's blocks. They normalise batches, ours groups
of channels, which other volumes of a batch do not change. `space_to_depth` and `standardise` are options for small machines, as elsewhere.
"""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from monai.networks.blocks.convolutions import Convolution
from monai.networks.blocks.upsample import UpSample
from torch import nn

from brainldm.core.config import TrainBaseline
from brainldm.core.grid import Grid
from brainldm.models import checkpoint
from brainldm.models.folding import depth_to_space, space_to_depth
from brainldm.models.losses import kl_divergence
from brainldm.models.training import Losses, Optimizer

SLOPE = ("LEAKYRELU", {"negative_slope": 0.2})  # Radford et al. 2016, whose architecture both papers begin from


class Generator(nn.Module):
    """Noise [N,Z,1,1,1] to standardised images [N,1,I,J,K]; volumes of any size, cut from the next that the levels allow."""

    def __init__(self, spec: dict[str, Any]) -> None:
        super().__init__()
        self.spec, self.fold = spec, int(spec["space_to_depth"])
        self.noise_shape = (int(spec["latent_channels"]), 1, 1, 1)
        self.mean = nn.Buffer(torch.zeros(1, 1, *spec["shape"]))
        self.spread = nn.Buffer(torch.ones(1))
        widths, groups = spec["channels"][::-1], spec["norm_groups"]
        self.coarse = (widths[0], *_coarse(spec))
        self.start = nn.Linear(self.noise_shape[0], int(np.prod(self.coarse)))
        self.blocks = nn.Sequential(_conv(widths[0], widths[0], groups), *(_finer(a, b, groups) for a, b in pairwise(widths)))
        self.last = nn.Conv3d(widths[-1], self.fold**3, 3, padding=1)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        """Standardised images, not clamped."""
        features = self.blocks(self.start(noise.flatten(1)).reshape(-1, *self.coarse))
        i, j, k = self.spec["shape"]
        return depth_to_space(self.last(features), self.fold)[:, :, :i, :j, :k]

    def decode(self, noise: torch.Tensor) -> torch.Tensor:
        """Images, not clamped, in the scans' units."""
        return self(noise) * self.spread + self.mean

    def standardise(self, mean: np.ndarray, spread: float) -> None:
        """Make differences from `mean` [I,J,K] in units of `spread` from now on."""
        self.mean.copy_(torch.from_numpy(mean))
        self.spread.fill_(spread)


class Reader(nn.Module):
    """Standardised images [N,1,I,J,K] to features [N,C,i,j,k] of the last level and `outputs` values [N,outputs]."""

    def __init__(self, spec: dict[str, Any], outputs: int) -> None:
        super().__init__()
        self.fold, self.sides = int(spec["space_to_depth"]), [side * _step(spec) for side in _coarse(spec)]
        widths, groups = spec["channels"], spec["norm_groups"]
        coarser = (_conv(a, b, groups, strides=2) for a, b in pairwise(widths))
        self.blocks = nn.Sequential(_conv(self.fold**3, widths[0], groups), *coarser, _conv(widths[-1], widths[-1], groups))
        self.head = nn.Linear(widths[-1] * int(np.prod(_coarse(spec))), outputs)

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Features and values."""
        padding = [end for side, found in zip(self.sides[::-1], images.shape[:1:-1], strict=True) for end in (0, side - found)]
        features = self.blocks(space_to_depth(F.pad(images, padding), self.fold))
        return features, self.head(features.flatten(1))


class VaeGan(nn.Module):
    """Encoder and generator together, because one backward pass trains both."""

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator, self.encoder = generator, Reader(generator.spec, 2 * generator.noise_shape[0])

    def forward(self, images: torch.Tensor, noise: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Reconstructions [N,1,I,J,K], what the critic judges [2N,1,I,J,K] (reconstructions, samples), mean and deviation of the latent.

        `noise` [2,N,Z,1,1,1] draws the latent and the samples. The judged reconstructions are made again from the same latent, through
        which the critic's gradient does not reach the encoder (Larsen et al. 2016, algorithm 1).
        """
        mu, log_variance = self.encoder(images)[1].reshape(*noise.shape[1:2], -1, 1, 1, 1).chunk(2, 1)
        sigma = torch.exp(0.5 * log_variance.clamp(-30, 20))
        latent = mu + sigma * noise[0]
        return self.generator(latent), self.generator(torch.cat([latent.detach(), noise[1]])), mu, sigma


def lsgan_step(generator: Optimizer, critic: Optimizer, images: torch.Tensor, noise: torch.Tensor, options: TrainBaseline) -> Losses:
    """Half the squared errors of the critic's values: 1 for scans and 0 for samples, which the generator wants at 1 (Mao et al., eq. 9)."""
    samples = generator.network(noise[0])
    losses = {"generator": 0.5 * ((_judged(critic, samples)[1] - 1) ** 2).mean()}
    generator.step(losses["generator"])
    real, made = (critic.network(volumes)[1] for volumes in (images, samples.detach()))
    losses["critic"] = 0.5 * ((real - 1) ** 2).mean() + 0.5 * (made**2).mean()
    critic.step(losses["critic"])
    return losses


def vaegan_step(generator: Optimizer, critic: Optimizer, images: torch.Tensor, noise: torch.Tensor, options: TrainBaseline) -> Losses:
    """KL, the likelihood of a scan's features in the critic given its reconstruction, and the adversarial loss (Larsen et al., eq. 8).

    The likelihood is Gaussian with unit variance, so half the sum of squared differences. Larsen et al. weight it by gamma in the
    generator; here the adversarial loss is weighted by 1 / gamma, which to Adam is the same. It has the form that does not saturate.
    """
    reconstructed, judged, mu, sigma = generator.network(images, noise)
    with torch.no_grad():
        wanted = critic.network(images)[0]
    features = _judged(critic, reconstructed)[0]
    losses = {
        "kl": kl_divergence(mu, sigma),
        "likelihood": 0.5 * ((features - wanted) ** 2).sum((1, 2, 3, 4)).mean(),
        "adversarial": 2 * F.softplus(-_judged(critic, judged)[1]).mean(),
    }
    weights = {"kl": options.kl_weight, "likelihood": 1.0, "adversarial": options.adversarial_weight}
    generator.step(torch.stack([weights[name] * loss for name, loss in losses.items()]).sum())
    losses["critic"] = F.softplus(-critic.network(images)[1]).mean() + 2 * F.softplus(critic.network(judged.detach())[1]).mean()
    critic.step(losses["critic"])
    return losses


STEPS = {"lsgan": lsgan_step, "vaegan": vaegan_step}


def build(options: TrainBaseline, method: str, grid: Grid) -> tuple[Generator, nn.Module, Reader]:
    """A new generator, the network in which it is trained (itself, or with an encoder), and a critic."""
    names = ("channels", "latent_channels", "space_to_depth", "norm_groups")
    spec = {"kind": "baseline", "method": method, **grid.model_dump(), **{name: getattr(options, name) for name in names}}
    generator = Generator(spec)
    return generator, VaeGan(generator) if method == "vaegan" else generator, Reader(spec, 1)


def load(path: Path) -> Generator:
    """A trained generator, frozen."""
    return checkpoint.load_network(path, "baseline", Generator)


def _judged(critic: Optimizer, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What the critic says, whose weights get no gradient."""
    network, fabric = critic.network.module, critic.fabric
    network.requires_grad_(False)
    with fabric.autocast():
        found = network(images)
    network.requires_grad_(True)
    return found


def _step(spec: dict[str, Any]) -> int:
    return int(spec["space_to_depth"]) * 2 ** (len(spec["channels"]) - 1)


def _coarse(spec: dict[str, Any]) -> tuple[int, ...]:
    """Sides of the coarsest level, rounded up."""
    return tuple(-(-side // _step(spec)) for side in spec["shape"])


def _conv(inputs: int, outputs: int, groups: int, strides: int = 1) -> nn.Module:
    return Convolution(3, inputs, outputs, strides=strides, act=SLOPE, norm=("GROUP", {"num_groups": groups}))


def _finer(inputs: int, outputs: int, groups: int) -> nn.Module:
    """Nearest neighbours and a convolution: a transposed convolution draws a checkerboard."""
    up = UpSample(3, inputs, outputs, scale_factor=2, mode="nontrainable", interp_mode="nearest", align_corners=None)
    return nn.Sequential(up, _conv(outputs, outputs, groups))
