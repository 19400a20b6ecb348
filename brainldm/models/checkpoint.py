"""Checkpoints: safetensors whose header carries the network's own spec as JSON, and a checksum: loading takes a path and nothing else."""

import hashlib
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
    contiguous, text = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, json.dumps(spec, sort_keys=True)
    try:
        with atomic(path) as temporary:
            # In the spec, and not beside it: safetensors writes several entries of metadata in random order.
            save_file(contiguous, temporary, metadata={"spec": json.dumps({**spec, "sha256": _digest(contiguous, text)}, sort_keys=True)})
    except SafetensorError as error:
        raise DataError(f"{path}: expected to write there, found that it fails ({error})") from None


def load(path: Path, kind: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Read tensors and spec; DataError, naming the file, when it is missing, damaged or of another kind."""
    try:
        with safe_open(path, framework="pt") as handle:
            spec = json.loads((handle.metadata() or {}).get("spec", "{}"))
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except (OSError, ValueError, RecursionError, SafetensorError) as error:
        raise DataError(f"{path}: expected a brainldm checkpoint, found none that can be read ({error})") from None
    found = spec.get("kind") if isinstance(spec, dict) else None
    if found != kind:
        raise DataError(f"{path}: expected a checkpoint of kind {kind!r}, found {found!r}")
    wanted = spec.pop("sha256", None)  # files of older versions have none
    if wanted and wanted != (digest := _digest(tensors, json.dumps(spec, sort_keys=True))):
        raise DataError(f"{path}: expected tensors with SHA-256 {wanted}, found {digest}: the file was damaged")
    return tensors, spec


def _digest(tensors: dict[str, torch.Tensor], spec: str) -> str:
    """SHA-256 of the spec and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(spec.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


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
