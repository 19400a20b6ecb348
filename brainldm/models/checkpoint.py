"""Checkpoints: safetensors whose header carries the network's own spec as JSON, so loading takes a path and nothing else."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from brainldm.core.errors import DataError
from brainldm.core.files import atomic


def save(path: Path, tensors: dict[str, torch.Tensor], spec: dict[str, Any]) -> None:
    """Write tensors and `spec`, atomically; `spec["kind"]` says what the file is."""
    with atomic(path) as temporary:
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        save_file(contiguous, temporary, metadata={"spec": json.dumps(spec, sort_keys=True)})


def load(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read tensors and spec; DataError, naming the file, when it is missing, damaged or of another kind."""
    try:
        with safe_open(path, framework="pt") as handle:
            spec = json.loads((handle.metadata() or {}).get("spec", "{}"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: expected a brainldm checkpoint, found none that can be read ({error})") from None
    if spec.get("kind") != kind:
        raise DataError(f"{path}: expected a checkpoint of kind {kind!r}, found {spec.get('kind')!r}")
    return tensors, spec


def load_foreign(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file that torch.save wrote, alone or under "state_dict"; no other object in it is read. DataError names the file."""
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
        tensors = dict(found.get("state_dict", found))
    except Exception as error:  # whatever a damaged or foreign file makes torch raise
        raise DataError(f"{path}: expected a file of weights written by torch.save, found none that can be read ({error})") from None
    return tensors


def load_into(module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Load the weights of `module` and freeze it; DataError when names or shapes differ from its own."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{path}: the weights do not fit the network that they are for ({error})") from None
    module.eval().requires_grad_(False)
    if any(parameter.ndim == 5 for parameter in module.parameters()):
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
