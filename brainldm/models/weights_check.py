"""Whether files of weights are whole, fit the network that they carry the spec of, and are of the configured architecture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from brainldm.core.errors import DataError
from brainldm.core.findings import Finding, error
from brainldm.core.printable import printable
from brainldm.models import age, autoencoder, checkpoint, checkpoint_header, diffusion, segmenter, specs, synthseg
from brainldm.models.memory import Networks

CLASSES: dict[str, Callable[[dict[str, Any]], nn.Module]] = {
    "segmenter": segmenter.Segmenter,
    "autoencoder": autoencoder.Autoencoder,
    "diffusion": diffusion.Diffusion,
    "age": age.AgeModel,
}


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
    spec, shapes = checkpoint_header.read(path)
    kind = str(spec.get("kind"))
    if kind not in CLASSES:
        cause = f"{path}: expected a checkpoint of kind {', '.join(CLASSES)}, found {printable(kind)!r}"
        return error(name, "of no known kind", cause, "give a checkpoint that a training of brainldm wrote")
    specs.check(path, spec)
    if wrong := checkpoint.misfits(CLASSES[kind], spec, shapes, path):
        cause = f"{path}: tensors do not fit the network of the file's own spec: {'; '.join(wrong[: checkpoint.SHOWN])}"
        return error(name, f"{kind}, damaged", cause, "train the model again")
    if apart := differences(spec, getattr(nets, kind).spec):
        cause = f"{path} is of another architecture than configured: {'; '.join(apart)}"
        return error(
            name, f"{kind}, another architecture", cause, f"set these keys of train_{kind} (or the grid) as in the file, or train again"
        )
    return Finding(name, f"{kind}, {sum(map(_size, shapes.values())) / 1e6:.2f} M numbers, as configured")


def differences(spec: dict[str, Any], configured: dict[str, Any]) -> list[str]:
    """What the configured network's spec says otherwise, where both speak of it; what data decide (ranges, labels, moments) aside."""
    wanted = json.loads(json.dumps({key: value for key, value in configured.items() if key not in ("ranges", "labels")}))
    return [f"{key}: configured {value}, in the file {spec[key]}" for key, value in wanted.items() if key in spec and spec[key] != value]


def _size(shape: tuple[int, ...]) -> int:
    return int(torch.Size(shape).numel())
