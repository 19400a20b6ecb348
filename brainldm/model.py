"""A trained model as a Python object: covariates in, NIfTI images out, of the same bytes as those of `brainldm sample`."""

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import nibabel as nib
import numpy as np
import pandas as pd
import torch

from brainldm.core.config import Generate, Given, read_section
from brainldm.core.covariates import NAMES, UNITS
from brainldm.core.errors import ConfigError
from brainldm.core.rows import participant_id
from brainldm.core.schema import checked
from brainldm.formats.foreign import LIMITS
from brainldm.formats.nifti import SLOPE, encode_volume
from brainldm.models import autoencoder, pretrained, rows
from brainldm.models.training import make_fabric


class Covariate(NamedTuple):
    """What a model may be asked: the unit, and the range of its training scans (of sex: F is 0, M is 1)."""

    unit: str
    low: float
    high: float


class Made(NamedTuple):
    """A volume made: int16 voxels [I,J,K], multiples of SLOPE, and the bytes of its .nii.gz."""

    counts: np.ndarray
    content: bytes


@dataclass(frozen=True)
class Model:
    """Two networks ready on a device, the files that they are from, and how they are sampled."""

    files: pretrained.Model
    given: Given
    networks: rows.Networks

    @property
    def covariates(self) -> dict[str, Covariate]:
        """Units and training ranges by name; beyond a range the model extrapolates."""
        ranges = self.networks.diffusion.ranges
        return {name: Covariate(UNITS[name], low, high) for name, low, high in zip(NAMES, ranges.low, ranges.high, strict=True)}

    def to(self, device: str) -> "Model":
        """The same model on another device (auto, cpu, cuda, cuda:1), read again; this one stays where it is."""
        how = self.given.own(Generate)
        return load(self.files, device=device, steps=how.steps, batch_size=how.batch_size)

    def sample(
        self,
        *,
        age_years: float,
        sex: Literal["F", "M"],
        ventricles_ml: float,
        brain_ml: float,
        n: int = 1,
        seed: int = 0,
        index: int = 0,
        attempt: int = 0,
    ) -> list[nib.Nifti1Image]:
        """`n` brains of those covariates that differ in their noise; `get_fdata()` gives intensities in about [0, 1].

        `seed`, `index` (row of the first) and `attempt` key the noise. DataError for another sex or a number that is not finite,
        ConfigError for an age or a volume that nobody has.
        """
        table = request(n, seed, index, age_years=age_years, sex=sex, ventricles_ml=ventricles_ml, brain_ml=brain_ml)
        return [nib.Nifti1Image.from_bytes(gzip.decompress(made.content)) for made in self.make(table.assign(attempt=attempt))]

    def make(self, table: pd.DataFrame) -> Iterator[Made]:
        """The rows of a `request`, one by one."""
        made = rows.make(self.networks, table, self.given.own(Generate), SLOPE)
        for who, row in zip(table["participant_id"], made, strict=True):
            yield Made(row.counts, encode_volume(row.counts, self.given.grid, f"SYNTHETIC T1w brainldm {who}"))


def request(n: int, seed: int, index: int, **covariates: float | str) -> pd.DataFrame:
    """A table of `n` rows of the same covariates; ConfigError for an age or a volume that nobody has: its unit is another."""
    for name, most in LIMITS.items():
        if float(covariates[name]) <= 0 or float(covariates[name]) > most:
            remedy = "; if these are mm3, divide by 1000" if name.endswith("_ml") and float(covariates[name]) > most else ""
            raise ConfigError(f"{name}: expected a value above 0, {most:g} at most, found {covariates[name]}{remedy}")
    indices = range(index, index + n)
    table = pd.DataFrame({"participant_id": [participant_id(row) for row in indices], "index": indices, "seed": seed})
    return table.assign(**covariates)


def load(
    model: str | Path | pretrained.Model | None = None,
    *,
    device: str = "auto",
    steps: int | None = None,
    batch_size: int | None = None,
) -> Model:
    """A trained model: a run's results/, an imported bundle, or by default the packaged one.

    `steps` of the sampler and `batch_size` are the model's own by default. torch's random numbers stay as they were.
    """
    files = model if isinstance(model, pretrained.Model) else pretrained.find(Path(model) if model else pretrained.PACKAGED)
    with torch.random.fork_rng():  # networks are made with random weights before they are read
        given = _settings(files, {"steps": steps, "batch_size": batch_size})
        fabric = make_fabric(device, given.precision, given.seed)
        networks = rows.load(files.autoencoder, files.diffusion, fabric, given.own(Generate))
    return Model(files, given, networks)


def _settings(files: pretrained.Model, asked: dict[str, int | None]) -> Given:
    """How to sample: as the model's own section of `generate` says, or else by default, but for what is asked."""
    own = read_section(files.section, "generate") if files.section else None
    section = (own.section if own else {"batch_size": 1}) | {name: value for name, value in asked.items() if value is not None}
    how = checked(Generate, section, "these settings of the sampler").model_dump(mode="json")
    grid = autoencoder.load(files.autoencoder).grid
    return Given(stage="generate", seed=own.seed if own else 0, precision=own.precision if own else "auto", grid=grid, section=how)
