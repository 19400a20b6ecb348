"""Networks of the published bundle's topology, narrow and with random weights, and their files under the first release's names."""

from pathlib import Path
from typing import Any

import torch
from monai.networks.nets.autoencoderkl import AutoencoderKL
from monai.networks.nets.diffusion_model_unet import DiffusionModelUNet

from brainldm.models.bundle import AUTOENCODER, DIFFUSION

SMALL_AUTOENCODER = {**AUTOENCODER, "shape": [32, 32, 32], "spacing_mm": 5.0, "channels": [8, 16, 16, 16], "norm_groups": 8}
SMALL_DIFFUSION = {**DIFFUSION, "latent_shape": [3, 4, 4, 4], "channels": [16, 32, 48], "head_channels": [0, 32, 48], "norm_groups": 8}


def plain_autoencoder(spec: dict[str, Any]) -> AutoencoderKL:
    """MONAI's network as the bundle's inference.json describes it."""
    levels = len(spec["channels"])
    return AutoencoderKL(
        spatial_dims=3,
        in_channels=1,
        out_channels=1,
        latent_channels=3,
        channels=spec["channels"],
        num_res_blocks=2,
        norm_num_groups=spec["norm_groups"],
        norm_eps=1e-6,
        attention_levels=[False] * levels,
        with_encoder_nonlocal_attn=False,
        with_decoder_nonlocal_attn=False,
    )


def plain_diffusion(spec: dict[str, Any]) -> DiffusionModelUNet:
    """MONAI's network as the bundle's inference.json describes it."""
    return DiffusionModelUNet(
        spatial_dims=3,
        in_channels=7,
        out_channels=3,
        channels=spec["channels"],
        num_res_blocks=2,
        attention_levels=[False, True, True],
        norm_num_groups=spec["norm_groups"],
        norm_eps=1e-6,
        resblock_updown=True,
        num_head_channels=spec["head_channels"],
        with_conditioning=True,
        transformer_num_layers=1,
        cross_attention_dim=4,
        upcast_attention=True,
        use_flash_attention=False,
    )


def randomised(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every weight drawn anew: some layers start at zero, which would hide a fault."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        around = 1.0 if "norm" in name and name.endswith("weight") else 0.0
        parameter.data = around + 0.05 * torch.randn(parameter.shape, generator=generator)
    return network.eval().requires_grad_(False)


def small_networks() -> tuple[AutoencoderKL, DiffusionModelUNet]:
    """The same two networks at every call."""
    return randomised(plain_autoencoder(SMALL_AUTOENCODER), 1), randomised(plain_diffusion(SMALL_DIFFUSION), 2)


def under_old_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As the package `generative` named them: Upsample had `conv`, CrossAttention a Sequential `to_out` of Linear and Dropout."""
    renamed = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if "postconv" in parts:
            parts[parts.index("postconv")] = "conv"
        if "out_proj" in parts:
            place = parts.index("out_proj")
            parts[place : place + 1] = ["to_out", "0"]
        renamed[".".join(parts)] = tensor
    assert renamed.keys() != tensors.keys()
    return renamed


def write_old_files(folder: Path) -> tuple[Path, Path]:
    """autoencoder.pth and diffusion_model.pth of the small networks."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / "autoencoder.pth", folder / "diffusion_model.pth"
    for network, path in zip(small_networks(), files, strict=True):
        torch.save(under_old_names(network.state_dict()), path)
    return files
