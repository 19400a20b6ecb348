"""What draws rows: networks from their files, and where a row may be drawn again those that judge it, by the rules of `measure`."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from lightning_fabric import Fabric

from brainldm import measuring
from brainldm.core.config import Generate, Given
from brainldm.core.errors import ConfigError
from brainldm.core.files import sha256
from brainldm.formats.nifti import SLOPE
from brainldm.formats.shards import Provenance
from brainldm.models import devices, rows


class Models(NamedTuple):
    """Files: what makes rows (a baseline is one alone), and what judges them."""

    autoencoder: Path
    diffusion: Path | None
    segmenter: Path | None = None
    age: Path | None = None


def check_judges(section: Path, given: Given, models: Models) -> None:
    """ConfigError, naming the section file, where rows may be drawn again and something is missing that judges them."""
    attempts = given.own(Generate).attempts
    if attempts > 1 and not (models.segmenter and models.age and given.quality):
        raise ConfigError(
            f"{section}: expected --segmenter, --age and the rules of measure.quality, because generate.attempts is {attempts} and volumes "
            "have to be judged, found some of them missing; give them, or set attempts to 1"
        )


def provenance(given: Given, fabric: Fabric, models: Models) -> Provenance:
    """What makes rows of these settings and models on this device."""
    return Provenance(
        section=given.model_dump(mode="json"),
        weights_sha256={name: sha256(path) for name, path in models._asdict().items() if path},
        precision=fabric.strategy.precision.precision,
        device=devices.device_class(fabric.device),
        versions=devices.versions(),
    )


def draw(table: pd.DataFrame, given: Given, fabric: Fabric, models: Models) -> Iterator[rows.Row]:
    """The rows of a table, not in its order; where it does not tell the attempts, they are judged if more than one is allowed."""
    how, judge = given.own(Generate), None
    networks = rows.load_any(models.autoencoder, models.diffusion, fabric, how)
    if how.attempts > 1 and "attempt" not in table and models.segmenter and models.age and given.quality:
        judge = measuring.judge(measuring.load(models.segmenter, models.age, given.grid, fabric), given.quality)
    return rows.make(networks, table, how, SLOPE, judge)
