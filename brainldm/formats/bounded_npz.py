"""Arrays of strangers' .npz files: their shapes and types are checked before memory is asked for; nothing is unpickled."""

import zipfile
from collections.abc import Mapping
from typing import IO, BinaryIO

import numpy as np

MOST_SIDE = 8192
MOST_MEMBERS = 16
MOST_TEXT = 1000  # characters
_KINDS = "iufU"  # integers, floats, texts


def read_arrays(handle: BinaryIO, dimensions: Mapping[str, int]) -> dict[str, np.ndarray]:
    """Return the named arrays of an .npz file; each has as many dimensions as `dimensions` says, of at most MOST_SIDE.

    ValueError if one is missing, has other dimensions or type, or the file holds more than MOST_MEMBERS members.
    """
    with zipfile.ZipFile(handle) as archive:
        if len(archive.infolist()) > MOST_MEMBERS:
            raise ValueError(f"it holds {len(archive.infolist())} members")
        found = {}
        for name, n_dimensions in dimensions.items():
            with archive.open(f"{name}.npy") as member:
                _check(member, name, n_dimensions)
            with archive.open(f"{name}.npy") as member:
                found[name] = np.lib.format.read_array(member, allow_pickle=False)
    return found


def _check(member: IO[bytes], name: str, n_dimensions: int) -> None:
    version = np.lib.format.read_magic(member)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, kind = read(member)
    if len(shape) != n_dimensions or any(not 0 < side <= MOST_SIDE for side in shape):
        raise ValueError(f"{name} has the shape {shape}")
    if kind.kind not in _KINDS or kind.itemsize > (4 * MOST_TEXT if kind.kind == "U" else 8) or (kind.kind == "U" and shape):
        raise ValueError(f"{name} is of type {kind}")
