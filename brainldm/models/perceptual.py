"""What the perceptual loss compares: features of our segmenter, of MedicalNet, or LPIPS on slices (Zhang et al. 2018); all from files."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn

from brainldm.core.config import TrainAutoencoder
from brainldm.models import checkpoint, medicalnet, segmenter, torch_file
from brainldm.models.losses import perceptual, unit

Perceptual = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # reconstruction, images [N,1,I,J,K] -> scalar
SQUEEZE = ((64, 16, 64), (128, 16, 64), None, (128, 32, 128), (256, 32, 128), None)  # in, squeezed, expanded; None: pooling
SQUEEZE_END = ((256, 48, 192), (384, 48, 192), (384, 64, 256), (512, 64, 256))
TAPS = (1, 4, 7, 9, 10, 11, 12)  # layers of the trunk whose activations LPIPS compares


def load(options: TrainAutoencoder, path: Path, device: torch.device) -> Perceptual:
    """The loss that `options.perceptual` names, with the weights of `path`."""
    if options.perceptual == "squeeze":
        return SliceLPIPS.load(path, options.perceptual_slices).to(device)
    network = segmenter.load(path) if options.perceptual == "segmenter" else medicalnet.load(path)
    return partial(perceptual, network.to(device))


class Fire(nn.Module):
    """SqueezeNet's block (Iandola et al. 2016): few channels, then two kinds of many."""

    def __init__(self, channels: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N,C,H,W] to [N,2*expanded,H,W]."""
        x = self.squeeze(x).relu()
        return torch.cat([self.expand1x1(x), self.expand3x3(x)], 1).relu()


class SliceLPIPS(nn.Module):
    """LPIPS of a random share of the slices along each axis, the sum over the axes ("2.5D", as MONAI's PerceptualLoss)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share
        pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
        middle = [pool() if widths is None else Fire(*widths) for widths in SQUEEZE]
        self.trunk = nn.Sequential(nn.Conv2d(3, 64, 3, 2), nn.ReLU(), pool(), *middle, *(Fire(*widths) for widths in SQUEEZE_END))
        self.weights = nn.ParameterList(torch.ones(1, channels, 1, 1) for channels in (64, 128, 256, 384, 384, 512, 512))
        self.shift = nn.Buffer(torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1))
        self.scale = nn.Buffer(torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1))

    @classmethod
    def load(cls, path: Path, share: float) -> "SliceLPIPS":
        """From a saved `lpips.LPIPS(net="squeeze").state_dict()`, frozen."""
        network = cls(share)
        tensors = {_own_name(name): tensor for name, tensor in torch_file.read(path).items() if not name.startswith("lins.")}
        checkpoint.load_into(network, tensors, path)
        return network

    def forward(self, reconstruction: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
        """Which slices are compared follows from torch's global generator; alike for all volumes [N,1,I,J,K] of a batch."""
        loss = torch.zeros((), device=images.device)
        for axis in (2, 3, 4):
            side = images.shape[axis]
            chosen = torch.randperm(side)[: max(1, int(side * self.share))].to(images.device)
            found, wanted = (x.index_select(axis, chosen).movedim(axis, 1).flatten(0, 1) for x in (reconstruction, images))
            loss = loss + self._distance(found, wanted)
        return loss

    def _distance(self, found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        """LPIPS of slices [S,1,H,W], mean over them."""
        with torch.no_grad():
            targets = self._features(wanted)
        levels = zip(self.weights, self._features(found), targets, strict=True)
        return torch.stack([(weight * (a - b) ** 2).sum(1).mean() for weight, a, b in levels]).sum()

    def _features(self, slices: torch.Tensor) -> list[torch.Tensor]:
        x, found = (slices.expand(-1, 3, -1, -1) - self.shift) / self.scale, []
        for place, layer in enumerate(self.trunk):
            x = layer(x)
            if place in TAPS:
                found.append(unit(x))
        return found


def _own_name(name: str) -> str:
    """net.slice3.6.squeeze.weight -> trunk.6.squeeze.weight, lin0.model.1.weight -> weights.0, scaling_layer.shift -> shift."""
    words = name.split(".")
    if words[0] == "net":
        return ".".join(["trunk", *words[2:]])
    return f"weights.{words[0].removeprefix('lin')}" if words[0].startswith("lin") else words[-1]
