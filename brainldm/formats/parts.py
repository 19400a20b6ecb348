"""Long computations in parts, each kept on disk, so that a run that was killed goes on where it was."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from brainldm.core.files import atomic, remove_files
from brainldm.formats.volumes import chunks

Arrays = dict[str, np.ndarray]
PART = 256  # items
_OWN = re.compile(r"\w+_\d{7}\.npz|\d{6,}\.npy")  # names of parts, and of volumes that are stored


def title(what: str, part: range, n: int) -> str:
    """Of a part's progress bar: which of n items it is of."""
    return what if len(part) == n else f"{what} {part.start + 1:,} to {part.stop:,} of {n:,}"


class Stored:
    """Volumes in `folder`, each in a file, so that none stays in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.n = folder, 0
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, images: np.ndarray) -> None:
        """Images [N,1,I,J,K] after those before, as float16."""
        for image in images:
            np.save(self.folder / f"{self.n:06d}.npy", image.astype(np.float16))
            self.n += 1

    def batch(self, places: np.ndarray | range) -> np.ndarray:
        """Images [N,1,I,J,K], float32."""
        return np.stack([np.load(self.folder / f"{place:06d}.npy") for place in places]).astype(np.float32)


class Parts:
    """Parts of results in `folder`, all made from what has the fingerprint `made_from`; others are made anew."""

    def __init__(self, folder: Path, made_from: str) -> None:
        self.folder, self.made_from = folder, made_from

    def __call__(self, name: str, n: int, make: Callable[[range], Arrays]) -> Arrays:
        """`make(part)` for consecutive parts of n items, joined along the first axis."""
        parts = [self._one(self.folder / f"{name}_{part.start:07d}.npz", part, make) for part in chunks(n, PART)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def forget(self) -> None:
        """Remove the parts, and the folder if nothing else is in it: what they were for is written."""
        remove_files(self.folder, _OWN)

    def _one(self, path: Path, part: range, make: Callable[[range], Arrays]) -> Arrays:
        kept = self._read(path)
        if kept is None:
            kept = make(part)
            with atomic(path) as temporary:
                np.savez(temporary, **{**kept, "made_from": np.array(self.made_from)})  # type: ignore[arg-type]
        return kept

    def _read(self, path: Path) -> Arrays | None:
        """What stands at `path`, if it is whole and made from the same."""
        try:
            with np.load(path) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except Exception:  # whatever a damaged file makes numpy and zipfile raise: it is made again
            return None
        return arrays if str(arrays.pop("made_from", "")) == self.made_from else None
