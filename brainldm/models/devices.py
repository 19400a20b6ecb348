"""The device that a worker computes on: one worker to a GPU, and what of it may change the bits of a result."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import torch

from brainldm import __version__
from brainldm.core.locks import first_free

LIBRARIES = ("torch", "monai", "numpy", "isal")  # networks, noise, compression


@contextmanager
def taken(device: str, folder: Path) -> Iterator[str]:
    """`device`, and where that leaves a choice of GPUs one ("cuda:1") that no other worker with the same `folder` of locks has.

    Waits until there is one. A GPU that is named is taken as it is.
    """
    gpus = gpu_names() if device in ("auto", "cuda") else []
    if not gpus:
        yield device
        return
    with first_free(folder, gpus) as place:
        logging.info("GPU %d of %d: %s", place, len(gpus), gpus[place])
        yield f"cuda:{place}"


def gpu_names() -> list[str]:
    """What tells the visible GPUs apart on any machine, whatever CUDA_VISIBLE_DEVICES calls them."""
    return [f"gpu-{torch.cuda.get_device_properties(place).uuid}" for place in range(torch.cuda.device_count())]


def device_class(device: torch.device) -> str:
    """What devices that compute alike have in common: the model of a GPU, the instructions of a CPU."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    amx = " with AMX" if torch.cpu.get_capabilities().get("amx_tile") else ""
    return f"CPU, {torch.backends.cpu.get_cpu_capability()}{amx}"


def versions() -> dict[str, str]:
    """The package and the libraries that a row's bytes may depend on."""
    found = {"brainldm": __version__, **{name: version(name) for name in LIBRARIES}}
    return found | ({"cudnn": str(torch.backends.cudnn.version())} if torch.cuda.is_available() else {})
