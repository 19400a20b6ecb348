"""Whether files of weights are whole, fit the network that they carry the spec of, and are of the configured architecture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from brainldm.core.errors import DataError
from brainldm.core.findings import Finding, error
from brainldm.models import age, autoencoder, diffusion, segmenter, synthseg
from brainldm.models.memory import Networks

CLASSES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "segmenter": segmenter.Segmenter,
    "autoencoder": autoencoder.Autoencoder,
    "diffusion": diffusion.Diffusion,
    "age": age.AgeModel,
}
SHOWN = 3  # tensors that do not fit, at most


def check(path: Path, nets: Networks) -> Finding:
    """One file: a checkpoint of ours against the configured networks, or SynthSeg's weights."""
    name = f"weights {path.parent.name}/{path.name}"
    try:
        if path.suffix == ".h5":
            return Finding(name, f"SynthSeg, {len(synthseg.load(path).labels)} labels")
        if path.suffix == ".safetensors":
            return _own(name, path, nets)
    except DataError as fault:
        return error(name, "cannot be used", str(fault), "copy the file again from where it came, or train the model again")
    remedy = "give a checkpoint (.safetensors) or SynthSeg's weights (.h5); `brainldm bundle import` converts the published bundle's files"
    return error(name, "of no known kind", f"{path}: expected .safetensors or .h5, found {path.suffix or 'no suffix'}", remedy)


def _own(name: str, path: Path, nets: Networks) -> Finding:
    spec, shapes = header(path)
    kind = spec.get("kind")
    if kind not in CLASSES:
        cause = f"{path}: expected a checkpoint of kind {', '.join(CLASSES)}, found {kind!r}"
        return error(name, "of no known kind", cause, "give a checkpoint that a training of brainldm wrote")
    if wrong := misfits(spec, shapes):
        cause = f"{path}: tensors do not fit the network of the file's own spec: {'; '.join(wrong[:SHOWN])}"
        return error(name, f"{kind}, damaged", cause, "train the model again")
    if apart := differences(spec, getattr(nets, kind).spec):
        cause = f"{path} is of another architecture than configured: {'; '.join(apart)}"
        return error(
            name, f"{kind}, another architecture", cause, f"set these keys of train_{kind} (or the grid) as in the file, or train again"
        )
    return Finding(name, f"{kind}, {sum(map(_size, shapes.values())) / 1e6:.2f} M numbers, as configured")


def header(path: Path) -> tuple[dict[str, Any], dict[str, tuple[int, ...]]]:
    """Spec and shapes of a checkpoint, without its tensors; DataError when it is missing or damaged."""
    try:
        with safe_open(path, framework="pt") as handle:
            spec = json.loads((handle.metadata() or {}).get("spec", "{}"))
            spec.pop("sha256", None)
            return spec, {name: tuple(handle.get_slice(name).get_shape()) for name in handle.keys()}  # noqa: SIM118 - not a dict
    except (OSError, ValueError, RecursionError, AttributeError, SafetensorError) as fault:
        raise DataError(f"{path}: expected a brainldm checkpoint, found none that can be read ({fault})") from None


def misfits(spec: dict[str, Any], shapes: dict[str, tuple[int, ...]]) -> list[str]:
    """Tensors of the spec's network that the file lacks or has in another shape, and those it has beside them."""
    with torch.device("meta"):
        wanted = {name: tuple(tensor.shape) for name, tensor in CLASSES[spec["kind"]](spec).state_dict().items()}
    names = sorted(name for name in wanted.keys() | shapes.keys() if wanted.get(name) != shapes.get(name))
    return [f"{name}: expected {wanted.get(name, 'none')}, found {shapes.get(name, 'none')}" for name in names]


def differences(spec: dict[str, Any], configured: dict[str, Any]) -> list[str]:
    """What the configured network's spec says otherwise, where both speak of it; what data decide (ranges, labels, moments) aside."""
    wanted = json.loads(json.dumps({key: value for key, value in configured.items() if key not in ("ranges", "labels")}))
    return [f"{key}: configured {value}, in the file {spec[key]}" for key, value in wanted.items() if key in spec and spec[key] != value]


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
