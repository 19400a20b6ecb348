"""The cache of latent moments: float16 in safetensors files of some scans each, and a manifest (JSON) with their checksums.

Moments and not samples are kept, so that training draws anew. Files are mapped into memory, not read: 31,740 scans of 3 x 20 x 28 x 20
are 4.3 GB.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from brainldm.core.errors import DataError
from brainldm.core.files import read_json, sha256, write_json
from brainldm.models import checkpoint

KIND = "latents"
FOLDER = "moments"  # of the files, beside the manifest


@dataclass(frozen=True)
class Latents:
    """Mean and standard deviation [C,i,j,k] of the latent of every scan, float16."""

    mu: tuple[torch.Tensor, ...]
    sigma: tuple[torch.Tensor, ...]

    def __len__(self) -> int:
        return len(self.mu)

    def of(self, rows: Iterable[int]) -> "Latents":
        """Those of some scans."""
        chosen = [int(row) for row in rows]
        return Latents(tuple(self.mu[row] for row in chosen), tuple(self.sigma[row] for row in chosen))

    def batch(self, rows: Iterable[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """mu and sigma [N,C,i,j,k] of some scans, float32."""
        chosen = self.of(rows)
        return torch.stack(chosen.mu).float(), torch.stack(chosen.sigma).float()

    def means(self, rows: Iterable[int]) -> np.ndarray:
        """mu of some scans [N,C,i,j,k], float16."""
        return torch.stack([self.mu[int(row)] for row in rows]).numpy()

    def spread(self) -> float:
        """The standard deviation of all values of mu; its inverse is the scale factor of Rombach et al. 2022."""
        sums = torch.tensor([[float(mu.double().sum()), float(mu.double().square().sum())] for mu in self.mu], dtype=torch.float64).sum(0)
        mean, square = (sums / (len(self) * self.mu[0].numel())).tolist()
        return float((square - mean**2) ** 0.5)


def file_of(manifest: Path, place: int) -> Path:
    """The place'th file of moments."""
    return manifest.parent / FOLDER / f"{place:05d}.safetensors"


def write_file(path: Path, mu: torch.Tensor, sigma: torch.Tensor, participants: list[str], made_from: str) -> None:
    """Moments [N,C,i,j,k] of some scans, and what they were made from, atomically."""
    spec = {"kind": KIND, "participant_id": participants, "made_from": made_from}
    checkpoint.save(path, {"mu": mu.half(), "sigma": sigma.half()}, spec)


def is_made_from(path: Path, made_from: str) -> bool:
    """Whether a whole file stands there that was made from the same."""
    try:
        return bool(checkpoint.load(path, KIND)[1].get("made_from") == made_from)
    except DataError:
        return False


def fingerprint(*values: Any) -> str:
    """A checksum of what a file is made from, as JSON."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def write_manifest(path: Path, participants: list[list[str]]) -> None:
    """The manifest of the files, given the scans of each; files of an earlier, longer cache go."""
    files = [file_of(path, place) for place in range(len(participants))]
    entries = [
        {"file": f"{FOLDER}/{file.name}", "sha256": sha256(file), "participant_id": ids}
        for file, ids in zip(files, participants, strict=True)
    ]
    write_json(path, {"kind": KIND, "dtype": "float16", "n": sum(map(len, participants)), "files": entries})
    for left in set(files[0].parent.glob("[0-9][0-9][0-9][0-9][0-9].safetensors")) - set(files):
        left.unlink()


def load(path: Path, participants: list[str]) -> Latents:
    """The cache of a manifest; DataError unless its files are whole and of these scans, in this order."""
    manifest = read_json(path)
    if not isinstance(manifest, dict) or manifest.get("kind") != KIND:
        raise DataError(f"{path}: expected a manifest of latents, found another JSON file")
    if [who for entry in manifest["files"] for who in entry["participant_id"]] != participants:
        raise DataError(
            f"{path}: expected the latents of the {len(participants)} scans of the table, in its order, found those of other scans"
        )
    parts = [_moments(path.parent / entry["file"], entry["sha256"], path) for entry in manifest["files"]]
    return Latents(tuple(one for mu, _ in parts for one in mu), tuple(one for _, sigma in parts for one in sigma))


def _moments(path: Path, wanted: str, manifest: Path) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    if not path.exists():
        raise DataError(f"{path}: expected a file of latents, which {manifest} names, found nothing; run encode again")
    if sha256(path) != wanted:
        raise DataError(f"{path}: expected the checksum that {manifest} gives, found another; run encode again")
    tensors, _ = checkpoint.load(path, KIND)
    return tensors["mu"].unbind(), tensors["sigma"].unbind()
