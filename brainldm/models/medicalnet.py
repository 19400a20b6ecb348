"""The 3-D ResNets of MedicalNet (Chen et al. 2019, arXiv 1904.00625), from a file of their weights."""

import re
from pathlib import Path

import torch
from monai.networks.nets.resnet import ResNet, get_inplanes
from torch import nn

from brainldm.core.errors import DataError
from brainldm.models import checkpoint, torch_file

DILATION = {"layer3": 2, "layer4": 4}  # these layers widen their view in the place of halving the resolution
OTHER_TASKS = ("conv_seg.", "fc.")  # layers that some files hold beside the features'


class MedicalNet(nn.Module):
    """Images [N,1,I,J,K] to the activations of the last block, at an eighth of the resolution."""

    def __init__(self, block: str, layers: list[int], shortcut: str) -> None:
        super().__init__()
        options = {"n_input_channels": 1, "conv1_t_stride": 2, "feed_forward": False, "bias_downsample": False}
        self.network = ResNet(block, layers, get_inplanes(), shortcut_type=shortcut, **options)  # type: ignore[arg-type]
        for name, dilation in DILATION.items():
            _dilate(self.network.get_submodule(name), dilation)

    def features(self, images: torch.Tensor) -> list[torch.Tensor]:
        """One level, [N,C,I/8,J/8,K/8]; every volume is standardised first, as those it learned from were."""
        spread, mean = torch.std_mean(images, (1, 2, 3, 4), keepdim=True)
        net = self.network
        entered = net.maxpool(net.act(net.bn1(net.conv1((images - mean) / spread.clamp(min=1e-6)))))
        return [net.layer4(net.layer3(net.layer2(net.layer1(entered))))]


def _dilate(layer: nn.Module, dilation: int) -> None:
    for module in layer.modules():
        if isinstance(module, nn.Conv3d):
            module.stride = (1, 1, 1)
            if module.kernel_size == (3, 3, 3):
                module.dilation = module.padding = (dilation,) * 3
        shortcut = getattr(module, "downsample", None)
        if shortcut is not None and not isinstance(shortcut, nn.Module):  # type A: no weights, but a stride
            shortcut.keywords["stride"] = 1


def load(path: Path) -> MedicalNet:
    """The network of a file of MedicalNet (resnet_10.pth, resnet_50_23dataset.pth, ...), frozen; its depth follows from the names."""
    named = torch_file.read(path)
    tensors = {f"network.{name}": tensor for name, tensor in named.items() if not name.startswith(OTHER_TASKS)}
    blocks = [{match[1] for name in named if (match := re.match(rf"layer{layer}\.(\d+)\.", name))} for layer in range(1, 5)]
    if not all(blocks):
        raise DataError(f"{path}: expected MedicalNet's weights (layer1.0.conv1.weight, ...), found {sorted(named)[:3]}")
    block = "bottleneck" if "layer1.0.conv3.weight" in named else "basic"
    network = MedicalNet(block, [len(found) for found in blocks], "B" if any("downsample" in name for name in named) else "A")
    checkpoint.load_into(network, tensors, path)
    return network
