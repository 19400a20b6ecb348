"""The synthetic volumes of many shards as one set, read by position; shards of different weights or settings are not one."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from brainldm.core.config import Generate
from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.formats.nifti import decode_volume
from brainldm.formats.shards import Manifest, read_manifest, read_member

SHARED = ("section", "weights_sha256")  # of the provenance: a dataset may grow on another machine, with newer libraries


class ShardSet:
    """Volumes of the shards with the given manifests, in the order of their row index; nothing is kept in memory."""

    def __init__(self, manifests: list[Path], grid: Grid) -> None:
        joined = join(manifests)
        rows = [(path, row) for path, manifest in zip(manifests, joined, strict=True) for row in manifest["rows"]]
        self.rows = sorted(rows, key=lambda found: found[1]["index"])
        self.grid = grid
        self.sampling = Generate.model_validate(joined[0]["provenance"]["section"]["section"])  # how the volumes were sampled

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def indices(self) -> list[int]:
        """Row index of every volume."""
        return [row["index"] for _, row in self.rows]

    def batch(self, places: np.ndarray | range) -> np.ndarray:
        """Volumes [N,1,I,J,K] at the given places, float32; hashes and grid are checked."""
        return np.stack([self._one(int(place)) for place in places])[:, None]

    def _one(self, place: int) -> np.ndarray:
        path, row = self.rows[place]
        return decode_volume(read_member(path, row), self.grid, f"{path.with_suffix('.tar')}: row {row['index']}")


def join(paths: list[Path]) -> list[Manifest]:
    """The manifests of one dataset's shards; DataError, naming two and what differs, if other weights or settings made one of them."""
    manifests = [read_manifest(path) for path in paths]
    shared = [dict(_leaves({name: value for name, value in found["provenance"].items() if name in SHARED})) for found in manifests]
    theirs = shared[0]
    for path, ours in zip(paths, shared, strict=True):
        differing = [
            f"{name} ({theirs.get(name)} and {ours.get(name)})" for name in {**theirs, **ours} if theirs.get(name) != ours.get(name)
        ]
        if differing:
            raise DataError(
                f"{paths[0]} and {path}: expected shards of one dataset, found other {', '.join(differing)}; "
                "remove those that are out of date, and they are generated again"
            )
    return manifests


def provenance(manifests: Iterable[Manifest]) -> dict[str, Any]:
    """What made a dataset, as JSON: section and weights, which its shards share; `made_on` lists machines, each with its shards."""
    machines: dict[str, list[str]] = {}
    shared: dict[str, Any] = {}
    for manifest in manifests:
        own: dict[str, Any] = {**manifest["provenance"]}
        shared = {name: own.pop(name) for name in SHARED}
        machines.setdefault(json.dumps(own, sort_keys=True), []).append(manifest["shard"])
    return {**shared, "made_on": [{**json.loads(machine), "shards": sorted(shards)} for machine, shards in machines.items()]}


def _leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every value at the end of nested dictionaries, under its dotted name."""
    if not isinstance(value, dict):
        yield name, value
        return
    for key, item in value.items():
        yield from _leaves(item, f"{name}.{key}".removeprefix("."))
