"""Checkpoints: safetensors whose header carries the network's own spec as JSON, and a checksum: loading takes a path and nothing else."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from brainldm.core.errors import DataError
from brainldm.core.files import atomic
from brainldm.core.printable import printable
from brainldm.models import checkpoint_header, specs
from brainldm.models.checkpoint_header import Shapes

N = TypeVar("N", bound=torch.nn.Module)
SHOWN = 3  # tensors in one message


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
    """Return the tensors and the spec of a file; DataError, naming the file, when it is missing, damaged or of another kind."""
    spec = _known(path, checkpoint_header.read(path).spec, kind)
    wanted = spec.pop("sha256", None)  # files of older versions have none
    tensors = _tensors(path)
    if wanted and wanted != (digest := _digest(tensors, json.dumps(spec, sort_keys=True))):
        raise DataError(f"{path}: expected tensors with SHA-256 {wanted}, found {digest}: the file was damaged")
    return tensors, spec


def load_network(path: Path, kind: str, build: Callable[[dict[str, Any]], N]) -> N:
    """Return the network of a file, frozen; DataError as of `load`, and where its tensors are not those of the spec's network.

    `build` makes a network of a spec. Before it takes memory, names and shapes are compared on torch's meta device.
    """
    header = checkpoint_header.read(path)
    spec = _known(path, header.spec, kind)
    if wrong := misfits(build, spec, header.shapes, path):
        raise DataError(f"{path}: the weights do not fit the network that they are for ({'; '.join(wrong[:SHOWN])})")
    tensors, spec = load(path, kind)
    network = build(spec)
    load_into(network, tensors, path)
    return network


def misfits(build: Callable[[dict[str, Any]], torch.nn.Module], spec: dict[str, Any], shapes: Shapes, path: Path) -> list[str]:
    """Return what of the tensors of a spec's network the file lacks or has in another shape, and what it has beside them."""
    try:
        with torch.device("meta"):
            wanted = {name: tuple(tensor.shape) for name, tensor in build(spec).state_dict().items()}
    except (ValueError, TypeError, RuntimeError, KeyError, IndexError) as error:  # MONAI's and torch's, of numbers that make no network
        raise DataError(f"{path}: its spec makes no network ({printable(error)})") from None
    names = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
    return [f"{name}: expected {wanted.get(name, 'none')}, found {shapes.get(name, 'none')}" for name in names]


def _known(path: Path, spec: dict[str, Any], kind: str) -> dict[str, Any]:
    """The spec, once its kind and its values are what a network of ours needs."""
    if spec.get("kind") != kind:
        raise DataError(f"{path}: expected a checkpoint of kind {kind!r}, found {printable(spec.get('kind'), 40)!r}")
    specs.check(path, spec)
    return spec


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        with safe_open(path, framework="pt") as handle:
            return {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except (OSError, ValueError, SafetensorError) as error:
        raise DataError(f"{path}: expected a brainldm checkpoint, found none that can be read ({error})") from None


def _digest(tensors: dict[str, torch.Tensor], spec: str) -> str:
    """SHA-256 of the spec and of every tensor's name, type, shape and bytes."""
    digest = hashlib.sha256(spec.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def load_into(module: torch.nn.Module, tensors: dict[str, torch.Tensor], path: Path) -> None:
    """Load the weights of `module` and freeze it; DataError when names or shapes differ from its own, or a number is not finite."""
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(f"{path}: the weights do not fit the network that they are for ({' '.join(str(error).split())})") from None
    if damaged := [name for name, tensor in module.state_dict().items() if not tensor.isfinite().all()]:
        raise DataError(f"{path}: tensor {damaged[0]} holds numbers that are not finite. Take another copy of the weights, or train again.")
    module.eval().requires_grad_(False)
    if any(parameter.ndim == 5 for parameter in module.parameters()):
        module.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
