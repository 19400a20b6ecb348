"""The synthetic volumes of many shards as one set, read by position."""

from pathlib import Path

import numpy as np

from brainldm.core.config import Generate
from brainldm.core.grid import Grid
from brainldm.formats.nifti import decode_volume
from brainldm.formats.shards import read_manifest, read_member


class ShardSet:
    """Volumes of the shards with the given manifests, in the order of their row index; nothing is kept in memory."""

    def __init__(self, manifests: list[Path], grid: Grid) -> None:
        rows = [(path, row) for path in manifests for row in read_manifest(path)["rows"]]
        self.rows = sorted(rows, key=lambda found: found[1]["index"])
        self.grid = grid

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def indices(self) -> list[int]:
        """Row index of every volume."""
        return [row["index"] for _, row in self.rows]

    @property
    def sampling(self) -> Generate:
        """How the volumes were sampled, from the first manifest's provenance."""
        return Generate.model_validate(read_manifest(self.rows[0][0])["provenance"]["section"]["section"])

    def batch(self, places: np.ndarray | range) -> np.ndarray:
        """Volumes [N,1,I,J,K] at the given places, float32; hashes and grid are checked."""
        return np.stack([self._one(int(place)) for place in places])[:, None]

    def _one(self, place: int) -> np.ndarray:
        path, row = self.rows[place]
        return decode_volume(read_member(path, row), self.grid, f"{path.with_suffix('.tar')}: row {row['index']}")
