"""Scans for the trainings' tests: bright ellipsoids on a grid, their table of covariates, section files, a segmenter."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml

from brainldm.core.config import Config, parse
from brainldm.core.files import write_json
from brainldm.core.grid import Grid
from brainldm.core.labels import DEMO
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.models import checkpoint, segmenter

ROOT = Path(__file__).parents[2]
TINY: Config = parse(yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text()))


def ellipsoid(grid: Grid, index: int) -> np.ndarray:
    """A volume [I,J,K] in [0, 1] of a size and a dark middle of its own, with a little noise."""
    axes = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in grid.shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes)) / np.random.default_rng(index).uniform(0.9, 1.1)
    return np.where(radius < 0.8, np.where(radius < 0.3, 0.3, 0.8), 0) + 0.02 * np.random.default_rng([index, 1]).random(grid.shape)


def write_scans(folder: Path, grid: Grid, n: int) -> Path:
    """n scans and their table of covariates; every fourth is of the split test."""
    names = [f"sub-{index:02d}" for index in range(n)]
    for index, name in enumerate(names):
        write_bytes(folder / f"{name}_T1w.nii.gz", encode_volume(quantise(ellipsoid(grid, index)), grid, "test"))
    table = pd.DataFrame({"participant_id": names, "split": ["test" if index % 4 == 3 else "train" for index in range(n)]})
    table = table.assign(age_years=np.linspace(45, 80, n), sex=["FM"[index % 2] for index in range(n)])
    table = table.assign(ventricles_ml=range(20, 20 + n), brain_ml=range(1400, 1400 - n, -1))
    table = table.assign(volume=[f"{name}_T1w.nii.gz" for name in names])
    write_tsv(folder / "covariates.tsv", table)
    return folder / "covariates.tsv"


def write_section(path: Path, stage: str, config: Config = TINY, precision: str = "32-true", **changes: Any) -> Path:
    """The section file of a stage, with changes."""
    own = {**getattr(config, stage).model_dump(mode="json"), **changes}
    grid = config.grid.model_dump(mode="json")
    write_json(path, {"stage": stage, "seed": 1, "precision": precision, "grid": grid, "section": own})
    return path


def write_segmenter(path: Path, config: Config = TINY) -> Path:
    """A segmenter that has learned nothing."""
    torch.manual_seed(0)
    network = segmenter.build(config.train_segmenter, config.grid, DEMO)
    checkpoint.save(path, network.state_dict(), network.spec)
    return path
