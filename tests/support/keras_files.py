"""Files in the layout of SynthSeg's Keras weights, with random values, and the network they mean: for tests and measurements."""

from pathlib import Path

import h5py
import numpy as np
import torch
from torch.nn import functional

OFFICIAL = (24, 48, 96, 192, 384)
Layers = dict[str, dict[str, np.ndarray]]


def random_layers(widths: tuple[int, ...] = (2, 3), labels: int = 33, convolutions: int = 2, kernel: int = 3, seed: int = 0) -> Layers:
    """The arrays of a U-Net with `widths` features at its levels, in the network's order."""
    rng = np.random.default_rng(seed)
    levels, layers, channels = len(widths), {}, 1

    def convolution(name: str, side: int, out: int) -> None:
        nonlocal channels
        scale = np.sqrt(2 / (side**3 * channels))
        kernels = scale * rng.standard_normal((side, side, side, channels, out), np.float32)
        layers[name] = {"kernel": kernels.astype(np.float32), "bias": rng.normal(0, 0.1, out).astype(np.float32)}
        channels = out

    def norm(name: str) -> None:
        values = [rng.uniform(0.5, 1.5, channels), *rng.normal(0, 0.1, (2, channels)), rng.uniform(0.3, 1.5, channels)]
        layers[name] = dict(zip(("gamma", "beta", "moving_mean", "moving_variance"), np.float32(values), strict=True))

    for level, width in enumerate(widths):
        for index in range(convolutions):
            convolution(f"unet_conv_downarm_{level}_{index}", kernel, width)
        norm(f"unet_bn_down_{level}")
    for level, width in enumerate(reversed(widths[:-1])):
        channels += width
        for index in range(convolutions):
            convolution(f"unet_conv_uparm_{levels + level}_{index}", kernel, width)
        norm(f"unet_bn_up_{level}")
    convolution("unet_likelihood", 1, labels)
    return layers


def write(path: Path, layers: Layers, layout: str = "root") -> Path:
    """The file, as Keras writes it: `root` (save_weights), `model_weights` (save) or `nested` (a model within a model)."""
    with h5py.File(path, "w") as handle:
        root = handle.create_group("model_weights") if layout == "model_weights" else handle
        root.attrs["layer_names"] = [b"unet_input", *(name.encode() for name in layers), b"unet_prediction"]
        root.create_group("unet_input").attrs["weight_names"] = np.array([])
        for name, arrays in layers.items():
            group = root.require_group("unet" if layout == "nested" else name)
            names = [f"{name}/{key}:0" for key in arrays]
            group.attrs["weight_names"] = [*group.attrs.get("weight_names", ()), *names]
            for text, array in zip(names, arrays.values(), strict=True):
                group[text] = array
    return path


def forward(layers: Layers, image: torch.Tensor) -> torch.Tensor:
    """The network's logits [label,I,J,K] of an image [I,J,K] by the book: up-sample, join, convolve."""
    arrays = {layer: {name: torch.from_numpy(array) for name, array in weights.items()} for layer, weights in layers.items()}
    levels = sum(name.startswith("unet_bn_down") for name in layers)
    convolutions = sum(name.startswith("unet_conv_downarm_0") for name in layers)

    def convolve(name: str, x: torch.Tensor) -> torch.Tensor:
        kernel = arrays[name]["kernel"].permute(4, 3, 0, 1, 2).contiguous(memory_format=torch.channels_last_3d)
        return functional.conv3d(x, kernel, arrays[name]["bias"], padding="same")

    def block(arm: str, level: int, norm: int, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for index in range(convolutions):
            x = functional.elu(convolve(f"unet_conv_{arm}arm_{level}_{index}", x))
        values = arrays[f"unet_bn_{arm}_{norm}"]
        return x, functional.batch_norm(x, values["moving_mean"], values["moving_variance"], values["gamma"], values["beta"], eps=1e-3)

    x, skips = image[None, None], []
    for level in range(levels):
        skip, x = block("down", level, level, functional.max_pool3d(x, 2) if level else x)
        skips.append(skip)
    for level in range(levels - 1):
        joined = torch.cat([skips[levels - 2 - level], functional.interpolate(x, scale_factor=2, mode="nearest")], 1)
        _, x = block("up", levels + level, level, joined)
    return convolve("unet_likelihood", x)[0]
