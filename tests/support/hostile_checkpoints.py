"""Checkpoints byte by byte: sound ones of small networks, and whatever their headers could be made to say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from brainldm.models import age, autoencoder, diffusion, segmenter

GRID = {"shape": [16, 16, 16], "spacing_mm": 10.0, "center_mm": [0.0, -17.0, 7.0]}
SPECS: dict[str, dict[str, Any]] = {
    "age": {"kind": "age", "shape": [16, 16, 16], "channels": [4, 4], "space_to_depth": 2, "age_mean": 60.0, "age_sd": 8.0},
    "segmenter": {
        "kind": "segmenter",
        "voxel_ml": 1.0,
        "labels": [0, 2, 3, 4, 24, 41, 42, 43],
        "init_filters": 4,
        "levels": 2,
        "space_to_depth": 2,
    },
    "autoencoder": {
        "kind": "autoencoder",
        **GRID,
        "channels": [4, 4],
        "latent_channels": 3,
        "space_to_depth": 2,
        "standardise": True,
        "position_channels": 1,
        "res_blocks": 1,
        "norm_groups": 2,
    },
    "diffusion": {
        "kind": "diffusion",
        "latent_shape": [3, 4, 4, 4],
        "ranges": {"low": [0, 44, 7, 1100], "high": [1, 82, 170, 1800]},
        "channels": [8, 8],
        "attention_levels": [False, True],
        "head_channels": [0, 8],
        "space_to_depth": 1,
        "position_channels": 0,
        "res_blocks": 1,
        "norm_groups": 4,
        "prediction": "epsilon",
        "timesteps": 100,
        "beta_start": 0.0015,
        "beta_end": 0.0205,
    },
}
BUILD: dict[str, Callable[[dict[str, Any]], torch.nn.Module]] = {
    "age": age.AgeModel,
    "segmenter": segmenter.Segmenter,
    "autoencoder": autoencoder.Autoencoder,
    "diffusion": diffusion.Diffusion,
}
LOAD: dict[str, Callable[[Path], torch.nn.Module]] = {
    "age": age.load,
    "segmenter": segmenter.load,
    "autoencoder": autoencoder.load,
    "diffusion": diffusion.load,
}
Entries = dict[str, Any]


def parts(kind: str) -> tuple[dict[str, Any], Entries, bytes]:
    """The spec, the entries of the header and the bytes of the tensors of a sound checkpoint."""
    torch.manual_seed(0)
    entries: Entries = {}
    data = b""
    for name, tensor in sorted(BUILD[kind](SPECS[kind]).state_dict().items()):
        content = tensor.detach().float().contiguous().numpy().tobytes()
        entries[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    return dict(SPECS[kind]), entries, data


def assemble(spec: object, entries: Entries, data: bytes, **metadata: object) -> bytes:
    """A file of these parts."""
    header = json.dumps({"__metadata__": {"spec": json.dumps(spec), **metadata}, **entries}).encode()
    return framed(header, data)


def framed(header: bytes, data: bytes) -> bytes:
    """A header of any bytes, with its length, and data."""
    return len(header).to_bytes(8, "little") + header + data
