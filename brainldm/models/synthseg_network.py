"""SynthSeg's 3-D U-Net (Billot et al. 2023, Medical Image Analysis 86:102789), built from the weights of its Keras files."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from brainldm.core.errors import DataError
from brainldm.models.synthseg_files import LAST_LAYER, Weights
from brainldm.models.synthseg_labels import VERSIONS, mirror

EPSILON = 1e-3  # of Keras' batch norm; PyTorch's own is 1e-5


class Merge(nn.Module):
    """Convolution of [skip, tensor below up-sampled by nearest neighbour], without building the up-sampled or the joined tensor.

    Up-sampling by 2 and a convolution with a k³ kernel are together a transposed convolution of stride 2 with a (k+1)³ kernel: the
    flipped kernel convolved with a box of 2³. A 3³ kernel then costs 8 products a voxel and not 27, and the memory is halved.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray, skip_channels: int) -> None:
        super().__init__()
        self.skip = convolution(kernel[..., :skip_channels, :], bias)
        side, channels, out = kernel.shape[0], kernel.shape[3] - skip_channels, kernel.shape[4]
        self.below = nn.ConvTranspose3d(channels, out, side + 1, stride=2, padding=side // 2, bias=False, device="meta")
        flipped = torch.from_numpy(kernel[::-1, ::-1, ::-1, skip_channels:, :].copy()).permute(3, 4, 0, 1, 2)
        spread = functional.conv3d(flipped.flatten(0, 1)[:, None], torch.ones(1, 1, 2, 2, 2), padding=1)
        self.below.weight = nn.Parameter(spread[:, 0].unflatten(0, (channels, out)))

    def forward(self, skip: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """[N,S,2I,2J,2K] and [N,C,I,J,K] -> [N,out,2I,2J,2K]."""
        return self.skip(skip).add_(self.below(below))


class Level(nn.Module):
    """Convolutions, each followed by an ELU, and a batch norm."""

    def __init__(self, convolutions: Sequence[nn.Module], norm: nn.Module) -> None:
        super().__init__()
        self.convolutions = nn.ModuleList(convolutions)
        self.norm = norm

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The features before the batch norm (the skip) and after it."""
        first, *others = self.convolutions
        features = functional.elu(first(*inputs), inplace=True)
        for layer in others:
            features = functional.elu(layer(features), inplace=True)
        return features, self.norm(features)


class SynthSeg(nn.Module):
    """Images [N,1,I,J,K], RAS at 1 mm, scaled to [0, 1] -> logits [N,label,I,J,K] in the order of `labels` (FreeSurfer ids)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        n_levels, n_convolutions = weights.depth()
        self.side_multiple = 2 ** (n_levels - 1)
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, skips = 1, []
        for level in range(n_levels):
            names = [f"unet_conv_downarm_{level}_{index}" for index in range(n_convolutions)]
            layers, channels = _convolutions(weights, names, channels)
            self.down.append(Level(layers, _norm(weights, f"unet_bn_down_{level}", channels)))
            skips.append(channels)
        for level, skip in enumerate(reversed(skips[:-1])):
            names = [f"unet_conv_uparm_{n_levels + level}_{index}" for index in range(n_convolutions)]
            layers, channels = _convolutions(weights, names, channels, skip)
            self.up.append(Level(layers, _norm(weights, f"unet_bn_up_{level}", channels)))
        kernel, bias = weights.convolution(LAST_LAYER, channels)
        self.likelihood = convolution(kernel, bias)
        self.version, self.labels = _version(weights, len(bias))
        self.mirror = mirror(self.labels)
        self.eval().requires_grad_(False).to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.likelihood.weight.device

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [N,label,I,J,K]; sides must be multiples of `side_multiple`."""
        skips = []
        for index, level in enumerate(self.down):
            skip, images = level(images)
            if index + 1 < len(self.down):
                skips.append(skip)
                images = functional.max_pool3d(images, 2)
            del skip
        for level in self.up:
            images = level(skips.pop(), images)[1]
        return self.likelihood(images)

    @torch.inference_mode()
    def posteriors(self, image: torch.Tensor | np.ndarray, flip: bool = True, sigma: float = 0.5) -> torch.Tensor:
        """Posteriors [label,I,J,K] of an image [I,J,K], or [N,label,I,J,K] of [N,I,J,K]; float32, on the network's device.

        They are blurred by a Gaussian of `sigma` voxels (0: not at all) and, with `flip`, averaged with those of the mirrored image,
        mirrored back, left and right labels exchanged. Autocast may be on. DataError for other shapes.
        """
        images = torch.as_tensor(image if torch.is_tensor(image) else np.ascontiguousarray(image)).to(self.likelihood.weight)
        if images.ndim not in (3, 4) or any(side % self.side_multiple or not side for side in images.shape[-3:]):
            raise DataError(
                f"image: expected [I,J,K] or [N,I,J,K] with sides that are multiples of {self.side_multiple}, found {tuple(images.shape)}"
            )
        batch = images.reshape(-1, 1, *images.shape[-3:])
        averaged = self._blurred(batch, sigma)
        if flip:
            mirrored = self._blurred(batch.flip(2), sigma)  # a pass of its own: half the memory of a batch of two
            for label, partner in enumerate(self.mirror):
                averaged[:, label].add_(mirrored[:, partner].flip(1)).mul_(0.5)
        return averaged if images.ndim == 4 else averaged[0]

    def _blurred(self, images: torch.Tensor, sigma: float) -> torch.Tensor:
        posteriors = self(images).float().softmax(1).contiguous()
        if sigma > 0:
            for volume in posteriors.flatten(0, 1):
                volume.copy_(blur(volume, sigma))
        return posteriors


def blur(volume: torch.Tensor, sigma: float) -> torch.Tensor:
    """A volume [I,J,K] under a Gaussian of `sigma` voxels in SynthSeg's window (1 voxel each way for 0.5); outside are zeros."""
    radius = int(np.ceil(2.5 * sigma) / 2)
    taps = np.exp(-(np.arange(radius + 1) ** 2) / (2 * sigma**2))
    taps /= taps[0] + 2 * taps[1:].sum()
    for axis, side in enumerate(volume.shape):
        blurred = volume * float(taps[0])
        for step in range(1, min(radius, side - 1) + 1):
            near, far = (blurred.narrow(axis, start, side - step) for start in (0, step))
            near.add_(volume.narrow(axis, step, side - step), alpha=float(taps[step]))
            far.add_(volume.narrow(axis, 0, side - step), alpha=float(taps[step]))
        volume = blurred
    return volume


def convolution(kernel: np.ndarray, bias: np.ndarray) -> nn.Conv3d:
    """A convolution that keeps the size, from Keras' kernel [k,k,k,in,out] and bias [out]."""
    layer = nn.Conv3d(kernel.shape[3], kernel.shape[4], kernel.shape[0], padding=kernel.shape[0] // 2, device="meta")
    layer.weight = nn.Parameter(torch.from_numpy(kernel.transpose(4, 3, 0, 1, 2).copy()))
    layer.bias = nn.Parameter(torch.from_numpy(bias))
    return layer


def _convolutions(weights: Weights, names: list[str], channels: int, skip: int = 0) -> tuple[list[nn.Module], int]:
    """The convolutions of a level and the channels they give; the first joins a skip of `skip` channels, where there is one."""
    layers: list[nn.Module] = []
    for name in names:
        joined = skip if skip and not layers else 0
        kernel, bias = weights.convolution(name, joined + channels)
        layers.append(Merge(kernel, bias, joined) if joined else convolution(kernel, bias))
        channels = len(bias)
    return layers, channels


def _norm(weights: Weights, name: str, channels: int) -> nn.BatchNorm3d:
    arrays = {key: torch.from_numpy(array) for key, array in weights.norm(name, channels).items()}
    layer = nn.BatchNorm3d(channels, eps=EPSILON)
    layer.weight, layer.bias = nn.Parameter(arrays["gamma"]), nn.Parameter(arrays["beta"])
    layer.running_mean, layer.running_var = arrays["moving_mean"], arrays["moving_variance"]
    return layer


def _version(weights: Weights, n_labels: int) -> tuple[str, tuple[int, ...]]:
    for version, labels in VERSIONS.items():
        if len(labels) == n_labels:
            return version, labels
    expected = " or ".join(f"{len(labels)} labels (SynthSeg {version})" for version, labels in VERSIONS.items())
    raise DataError(f"{weights.path}: layer {LAST_LAYER}: expected {expected}, found {n_labels}")
