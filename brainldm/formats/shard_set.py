"""The synthetic volumes of many shards as one set, read by position; shards of different weights or settings are not one."""

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from brainldm.core.config import Generate
from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.core.rows import shard_rows
from brainldm.formats.nifti import decode_volume
from brainldm.formats.packs import Pack
from brainldm.formats.shards import Manifest, read_manifest, read_member

Origin = Manifest | Pack
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


def current(paths: Iterable[Path]) -> list[Path]:
    """Return the manifests of one dataset among all that lie in a folder, in order; a warning names those left out.

    Shards of an earlier run may be left: of rows that a newer shard holds too, or of other weights or settings. The newest
    shard decides.
    """
    kept: list[Path] = []
    rows: set[int] = set()
    newest: dict[str, str] = {}
    left = []
    for path in sorted(paths, key=_made_at, reverse=True):
        origin = _shared(read_manifest(path))
        newest = newest or origin
        if origin == newest and rows.isdisjoint(shard_rows(path.stem)):
            kept.append(path)
            rows.update(shard_rows(path.stem))
        else:
            left.append(path)
    if left:
        logging.warning("%s: shards of an earlier run, left out: %s", left[0].parent, ", ".join(sorted(path.stem for path in left)))
    return sorted(kept)


def _made_at(path: Path) -> tuple[int, str]:
    return path.stat().st_mtime_ns, path.stem


def join(paths: list[Path]) -> list[Manifest]:
    """The manifests of one dataset's shards; DataError, naming two and what differs, if other weights or settings made one of them."""
    manifests = [read_manifest(path) for path in paths]
    check_origin(paths, manifests)
    return manifests


def check_origin(paths: Sequence[Path], manifests: Sequence[Origin]) -> None:
    """DataError, naming two and what differs, unless the same weights and settings made all shards."""
    shared = [_shared(found) for found in manifests]
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


def _shared(manifest: Origin) -> dict[str, str]:
    return dict(_leaves({name: value for name, value in manifest["provenance"].items() if name in SHARED}))


def provenance(manifests: Iterable[Origin]) -> dict[str, Any]:
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
