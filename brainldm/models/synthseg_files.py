"""Keras weight files (HDF5) of SynthSeg: layers by name, every fault told with the layer's name.

Layout: a group per layer, at the root or under `model_weights`, whose attribute `weight_names` lists its arrays (Keras 2's save_weights
and save). The group of a nested model lists the arrays of all its layers.
"""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from brainldm.core.errors import DataError
from brainldm.core.printable import printable
from brainldm.core.regular_files import read_regular

FIRST_LAYER, LAST_LAYER = "unet_conv_downarm_0_0", "unet_likelihood"
LAYER = re.compile(
    r"unet_(?:conv_(?P<arm>down|up)arm_(?P<level>[0-9]{1,2})_(?P<conv>[0-9]{1,2})|bn_(?P<side>down|up)_(?P<norm>[0-9]{1,2})|likelihood)"
)
OTHERS = {  # how the layers of SynthSeg's other networks begin
    "l2l_": "the weights of SynthSeg-robust",
    "unet2_": "the weights of SynthSeg-robust",
    "unet_parc_": "the weights of SynthSeg's cortical parcellation",
    "qc_": "the weights of SynthSeg's quality control",
}
NORM = ("gamma", "beta", "moving_mean", "moving_variance")
HDF5 = b"\x89HDF\r\n\x1a\n"
PROBE_BYTES = 2**28  # no file of this kind is larger: SynthSeg 2.0 has 53 MB
MOST_TEXTS = 2000  # names in an attribute
LONGEST_TEXT = 2**16
MOST_GROUPS = 1000  # SynthSeg 2.0 has 60
DAMAGE = (
    OSError,
    RuntimeError,
    KeyError,
    ValueError,
    TypeError,
    MemoryError,
    OverflowError,
    AttributeError,
)  # what h5py raises where a file is damaged
Layers = dict[str, dict[str, np.ndarray]]


@dataclass(frozen=True)
class Weights:
    """The arrays of a file, by layer and name (`kernel`, `bias`, `gamma` ...), as float32."""

    path: Path
    layers: Layers

    def convolution(self, layer: str, channels: int) -> tuple[np.ndarray, np.ndarray]:
        """Kernel [k,k,k,channels,out] and bias [out]; DataError when they are missing, or do not follow `channels` inputs."""
        kernel, bias = (self._array(layer, name) for name in ("kernel", "bias"))
        side = kernel.shape[0] if kernel.ndim else 0
        if kernel.ndim != 5 or kernel.shape[:4] != (side, side, side, channels) or side % 2 == 0:
            self._refuse(layer, f"a kernel (k, k, k, {channels}, n) with k odd, after a tensor of {channels} channels", kernel.shape)
        if not kernel.any():
            self._refuse(layer, "a kernel", "only zeros")
        if bias.shape != kernel.shape[4:]:
            self._refuse(layer, f"a bias {kernel.shape[4:]}", bias.shape)
        return kernel, bias

    def norm(self, layer: str, channels: int) -> dict[str, np.ndarray]:
        """The four arrays [channels] of a batch norm; DataError when they are missing or of another length."""
        arrays = {name: self._array(layer, name) for name in NORM}
        for name, array in arrays.items():
            if array.shape != (channels,):
                self._refuse(layer, f"{name} ({channels},)", array.shape)
        if arrays["moving_variance"].min() < 0:
            self._refuse(layer, "a moving_variance that is nowhere negative", float(arrays["moving_variance"].min()))
        return arrays

    def depth(self) -> tuple[int, int]:
        """Levels of the network, and convolutions a level: the highest that any layer's name tells, so that a missing one is noticed."""
        found = [match.groupdict() for match in map(LAYER.fullmatch, self.layers) if match]
        levels = [_levels(groups) for groups in found]
        return max([1, *levels]), max([1, *(int(groups["conv"]) + 1 for groups in found if groups["conv"])])

    def _array(self, layer: str, name: str) -> np.ndarray:
        arrays = self.layers.get(layer)
        if arrays is None:
            raise DataError(f"{self.path}: expected the layer {layer}, found no such layer among {len(self.layers)}")
        if name not in arrays:
            self._refuse(layer, f"the weight {name}", f"only {printable(sorted(arrays))}")
        if not np.isfinite(arrays[name]).all():
            self._refuse(layer, f"finite numbers in {name}", "values that are not")
        return arrays[name]

    def _refuse(self, layer: str, expected: str, found: object) -> None:
        raise _refusal(self.path, layer, expected, found)


def read(path: Path) -> Weights:
    """The weights of a SynthSeg 1.0 or 2.0 file; DataError for another kind of file, or one that is damaged or cut off."""
    if path.exists() and (fault := _heap_fault(read_regular(path, PROBE_BYTES))):
        raise _refusal(path, FIRST_LAYER, "weights that can be read", f"a damaged HDF5 file ({fault})")
    try:
        handle = h5py.File(path, "r")
    except OSError as error:
        raise _unopened(path, str(error)) from None
    with handle:
        return Weights(path, _read_layers(handle, path, path.stat().st_size))


def _heap_fault(content: bytes) -> str:
    """Return what is wrong with the global heaps, which hold texts, or "" if nothing.

    An object that takes no room: HDF5 2.0 would look for the one behind it for ever. A long one: an attribute may point to it often.
    """
    for found in re.finditer(rb"GCOL\x01", content):
        size, *_ = struct.unpack_from("<Q", content.ljust(found.start() + 16, b"\0"), found.start() + 8)
        place, end = found.start() + 16, min(found.start() + size, len(content))
        while place + 16 <= end:
            index, length = struct.unpack_from("<H6xQ", content, place)
            needed = (16 + (length + 7) // 8 * 8 if index else length) % 2**64
            if not needed:
                return "a heap without end"
            if index and length > LONGEST_TEXT:
                return f"a heap with a text of {length} bytes"
            place += needed
    return ""


def _levels(groups: dict[str, str | None]) -> int:
    """How many levels a network with this layer has at least: its decoder counts on from the number of levels."""
    if groups["level"]:
        level = int(groups["level"])
        return level + 1 if groups["arm"] == "down" else (level + 3) // 2
    return int(groups["norm"]) + (1 if groups["side"] == "down" else 2) if groups["norm"] else 1


def _read_layers(handle: h5py.File, path: Path, size_bytes: int, cut: str = "") -> Layers:
    """Every array of the network's layers, in the file's order; arrays behind `size_bytes` are lost, for the reason `cut`."""
    layers: Layers = {}
    layer = FIRST_LAYER
    try:
        root = _member(handle, "model_weights") if "model_weights" in handle else handle
        names = _in_order(root)
        _check_kind(path, names)
        for name in names:
            layer = name if LAYER.fullmatch(name) else layer
            for owner, weight, dataset in _arrays(root, name):
                layer = owner
                layers.setdefault(layer, {})[weight] = _values(dataset, size_bytes)
    except DAMAGE as error:
        raise _refusal(path, layer, "weights that can be read", cut or f"a damaged file ({printable(error)})") from None
    if not layers:
        raise DataError(f"{path}: expected layers of SynthSeg ({FIRST_LAYER} ...), found {printable(names[:3])}")
    return layers


def _in_order(root: h5py.Group) -> list[str]:
    """Names of the groups: those that the attribute `layer_names` lists first, in its order (the network's), then the rest."""
    if len(root) > MOST_GROUPS:
        raise ValueError(f"{len(root)} groups; a network of SynthSeg has at most {MOST_GROUPS}")
    listed = dict.fromkeys(_texts(root, "layer_names"))
    present = dict.fromkeys(root)
    return [name for name in listed if name in present] + [name for name in present if name not in listed]


def _member(group: h5py.Group, name: str) -> Any:
    """What stands in a group under a name, "/" between groups; ValueError where it is a link, which may lead to another file."""
    for part in filter(None, name.split("/")):
        if not isinstance(group, h5py.Group) or not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{printable(name, 80)} is a link, or stands nowhere")
        group = group[part]
    return group


def _arrays(root: h5py.Group, name: str) -> Iterator[tuple[str, str, h5py.Dataset]]:
    """(layer, weight, dataset) of a group that belongs to the network; a nested model's arrays carry their layer in their name."""
    group = _member(root, name)
    for text in _texts(group, "weight_names"):
        *folders, leaf = text.split("/")
        layer = name if LAYER.fullmatch(name) else (folders or [name])[-1]
        if LAYER.fullmatch(layer):
            yield layer, leaf.split(":")[0], _member(group, text)


def _values(dataset: h5py.Dataset, size_bytes: int) -> np.ndarray:
    """The numbers of a dataset, float32; ValueError unless they lie in this very file as they are, one after another."""
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind != "f" or dataset.ndim > 5:
        raise ValueError("no array of floating-point numbers")
    if dataset.external or dataset.is_virtual or dataset.chunks or dataset.size * dataset.dtype.itemsize != dataset.id.get_storage_size():
        raise ValueError(f"{dataset.name} is compressed, empty, or lies in another file")
    offset = dataset.id.get_offset()
    if offset is not None and offset + dataset.id.get_storage_size() > size_bytes:
        raise OSError(f"{dataset.name} ends at byte {offset + dataset.id.get_storage_size()} of {size_bytes}")
    return np.asarray(dataset[()], np.float32)


def _check_kind(path: Path, names: list[str]) -> None:
    for name in names:
        for prefix, kind in OTHERS.items():
            if name.startswith(prefix):
                raise DataError(f"{path}: expected the weights of SynthSeg 1.0 or 2.0, found {kind} (layer {printable(name, 60)})")


def _unopened(path: Path, reason: str) -> DataError:
    """What is wrong with a file that HDF5 does not open; of one that is cut off, the first layer lost."""
    if not path.is_file():
        return DataError(f"{path}: expected a file of SynthSeg's weights, found none")
    content = read_regular(path, PROBE_BYTES)
    if not content.startswith(HDF5):
        return DataError(f"{path}: expected an HDF5 file of SynthSeg's weights, found another kind of file ({len(content)} bytes)")
    stored = re.search(r"stored_eof = (\d+)", reason)
    whole = int(stored[1]) if stored else 0
    if not 0 < whole <= PROBE_BYTES:
        return _refusal(path, FIRST_LAYER, "weights that can be read", f"a damaged HDF5 file ({printable(reason)})")
    return _first_lost(path, content, whole)


def _first_lost(path: Path, content: bytes, whole: int) -> DataError:
    """Of a file that is cut off, the first layer that is lost: the rest is taken for zeros and read as far as it goes."""
    cut = f"the file truncated to {len(content)} of {whole} bytes: nothing can be read from this layer on"
    try:
        padded = content.ljust(whole, b"\0")
        if fault := _heap_fault(padded):
            raise OSError(fault)
        with h5py.File(io.BytesIO(padded), "r") as handle:
            _read_layers(handle, path, len(content), cut)
    except DataError as error:
        return error
    except DAMAGE:
        return _refusal(path, FIRST_LAYER, "weights that can be read", cut)
    return _refusal(path, LAST_LAYER, f"a file of {whole} bytes", f"it truncated to {len(content)}, behind this layer")


def _refusal(path: Path, layer: str, expected: str, found: object) -> DataError:
    return DataError(f"{path}: layer {layer}: expected {expected}, found {found}")


def _texts(group: h5py.Group, name: str) -> list[str]:
    """The texts of an attribute, none where it is missing; ValueError for more than a network has."""
    if name not in group.attrs:
        return []
    shape = group.attrs.get_id(name).shape
    if shape is None or len(shape) != 1 or shape[0] > MOST_TEXTS:
        raise ValueError(f"the attribute {name} is no list of at most {MOST_TEXTS} names")
    return [_text(text) for text in group.attrs[name]]


def _text(name: bytes | str) -> str:
    return name.decode() if isinstance(name, bytes) else str(name)
