"""The published model's two weight files -> our networks: MONAI's bundle brain_image_synthesis_latent_diffusion_model (Pinaya et al. 2022).

Its first release was made with the package `generative`, whose names for some tensors MONAI changed since; files of either kind are read.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch

from brainldm.core.errors import DataError
from brainldm.models import torch_file
from brainldm.models.autoencoder import Autoencoder
from brainldm.models.diffusion import Diffusion

N = TypeVar("N", Autoencoder, Diffusion)
Shapes = dict[str, tuple[int, ...]]

# The volumes' place is the one that the bundle's saver writes, moved by the crop (16, 16, 96) that the same lab's code makes before.
AUTOENCODER: dict[str, Any] = {
    "kind": "autoencoder",
    "shape": [160, 224, 160],
    "spacing_mm": 1.0,
    "center_mm": [0.98149872, -13.97715759, 18.94624329],
    "right_to_left": True,
    "channels": [64, 128, 128, 128],
    "latent_channels": 3,
    "space_to_depth": 1,
    "position_channels": 0,
    "res_blocks": 2,
    "norm_groups": 32,
}
# Ranges: sex F 0, M 1; age in years; UK Biobank's fields 25004 and 25009 in mL, their minimum and maximum as the paper gives them.
DIFFUSION: dict[str, Any] = {
    "kind": "diffusion",
    "latent_shape": [3, 20, 28, 20],
    "ranges": {"low": [0, 44, 6.99568, 1144.24], "high": [1, 82, 171.375, 1793.91]},
    "channels": [256, 512, 768],
    "attention_levels": [False, True, True],
    "head_channels": [0, 512, 768],
    "space_to_depth": 1,
    "position_channels": 0,
    "res_blocks": 2,
    "norm_groups": 32,
    "prediction": "epsilon",
    "timesteps": 1000,
    "beta_start": 0.0015,
    "beta_end": 0.0205,
}


def read_autoencoder(path: Path, spec: dict[str, Any] = AUTOENCODER) -> Autoencoder:
    """The autoencoder of a weight file; DataError, naming what differs, unless its tensors are those of `spec`."""
    return _read_network(path, lambda: Autoencoder(spec))


def read_diffusion(path: Path, spec: dict[str, Any] = DIFFUSION) -> Diffusion:
    """The diffusion model of a weight file; DataError, naming what differs, unless its tensors are those of `spec`."""
    return _read_network(path, lambda: Diffusion(spec))


def _read_network(path: Path, build: Callable[[], N]) -> N:
    tensors = torch_file.read(path)
    with torch.device("meta"):  # names and shapes, without their memory
        expected = {name: tuple(tensor.shape) for name, tensor in build().network.state_dict().items()}
    renamed = {old_name(name): shape for name, shape in expected.items()}
    nearer = min((expected, renamed), key=lambda names: len(names.keys() ^ tensors.keys()))
    # MONAI's load_old_state_dict passes over names that it does not know and keeps random weights for those it misses: checked here.
    if differences := _differences(tensors, nearer):
        raise DataError(f"{path}: expected the {len(expected)} tensors of the network, found {len(tensors)}: {'; '.join(differences)}")
    network = build()
    load = network.network.load_state_dict if nearer is expected else network.network.load_old_state_dict
    load(tensors)
    if damaged := [name for name, tensor in network.network.state_dict().items() if not tensor.isfinite().all()]:
        raise DataError(f"{path}: tensor {damaged[0]} holds numbers that are not finite. Take another copy of the weights.")
    return network.eval().requires_grad_(False)


def old_name(name: str) -> str:
    """What the package `generative` called a tensor of MONAI's networks, as far as the published ones have it."""
    if ".transformer_blocks." in name:
        return name.replace(".out_proj.", ".to_out.0.")
    return name.replace(".postconv.", ".conv.")


def _differences(tensors: dict[str, torch.Tensor], expected: Shapes) -> list[str]:
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    shapes = [f"{name} of shape {found[name]} instead of {shape}" for name, shape in expected.items() if found.get(name, shape) != shape]
    faults = {
        "missing": [name for name in expected if name not in found],
        "unexpected": [name for name in found if name not in expected],
        "wrong": shapes,
    }
    return [f"{kind} {torch_file.listed(names)}" for kind, names in faults.items() if names]
