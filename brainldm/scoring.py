"""Volumes that were not made here, scored: by themselves, beside the real scans of a run, or beside the figures that it left."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from rich.console import Console
from rich.progress import track

from brainldm import measuring, protocol
from brainldm.core import covariates
from brainldm.core.config import Given, Preprocess
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.files import read_json
from brainldm.core.judging import Evaluate, Measure
from brainldm.core.labels import ICV, NAMES
from brainldm.core.printable import printable
from brainldm.core.regular_files import file_inside
from brainldm.formats.volumes import VolumeSet, chunks
from brainldm.metrics import anatomy, conditioning, fidelity, summary
from brainldm.metrics.diversity import diversity
from brainldm.metrics.summary import Entries
from brainldm.models import age, panel
from brainldm.models.training import make_fabric
from brainldm.protocol import Protocol

OF_THE_RUN = (
    "age_",
    "ms_ssim_",
    "g4r_ssim_",
    "sharpness_",
)  # figures of real scans and reconstructions that hold for any number of volumes
WEIGHTS = (".safetensors", ".h5")
Read = Callable[[range | np.ndarray], np.ndarray]


class Bench(NamedTuple):
    """What scores: settings of a run or a protocol, models, what turns images into features [N,D], and the features' name."""

    given: Given
    options: Evaluate
    rules: Measure
    placing: Preprocess
    tools: measuring.Instruments
    embed: Callable[[torch.Tensor], np.ndarray]
    features: str


class Programs(NamedTuple):
    """What the user names on the command line: no file of a models folder and no protocol may name it."""

    segmenter: Path | None = None  # weights, or a program that segments as mri_synthseg
    features: Path | None = None  # MedicalNet's weights
    unires: str | None = None  # the command of UniRes


def bench(models: Path, named: Programs, frozen: Protocol | None, device: str) -> Bench:
    """The models and settings that a run left in its results, on a device, or others; DataError for what is not there.

    Settings are those of a protocol where there is one; ConfigError for weights that are not, and where settings ask for a program or a
    file that is not `named`.
    """
    told = frozen.settings if frozen else protocol.settings(models)
    given = told["evaluate"]
    years = file_inside(models, "train_age/model.safetensors")
    if frozen:
        protocol.check(frozen, "age", years)
    ruler = named.segmenter or file_inside(models, "train_segmenter/model.safetensors")
    if named.segmenter and named.segmenter.suffix not in WEIGHTS and named.segmenter.resolve().is_relative_to(models.resolve()):
        raise ConfigError(f"--segmenter: {ruler} lies in the models folder {models}, and no program of a models folder is run.")
    if frozen:
        protocol.check(frozen, "segmenter", ruler)
    options = _with_features(given.own(Evaluate), named, frozen, models)
    placing = _with_unires(told["preprocess"].own(Preprocess), named, frozen.path if frozen else models)
    fabric = make_fabric(device, given.precision, given.seed)
    tools = measuring.load(ruler, years, given.grid, fabric)
    embed, name = panel.embedding(options.features, age.load(years).to(fabric.device), years, fabric.device)
    return Bench(given, options, told["measure"].own(Measure), placing, tools, embed, name)


def _with_features(options: Evaluate, named: Programs, frozen: Protocol | None, models: Path) -> Evaluate:
    """The settings, with the file of features that the user names; ConfigError where they ask for one and none is named."""
    asked = "features" in frozen.files if frozen else options.features != "age"
    if asked and named.features is None:
        origin = frozen.path if frozen else models
        raise ConfigError(f"{origin} was evaluated with features of MedicalNet. Name their file: --features FILE.")
    if frozen and named.features:
        protocol.check(frozen, "features", named.features)
    return options.model_copy(update={"features": str(named.features) if named.features else "age"})


def _with_unires(options: Preprocess, named: Programs, origin: Path) -> Preprocess:
    """The settings, with the command of UniRes that the user names; ConfigError where they ask for it and none is named."""
    if options.backend == "unires" and named.unires is None:
        raise ConfigError(
            f"{origin} asks for UniRes (preprocess.backend: unires), and a program is run only where you name it. "
            "Give its command: --unires COMMAND."
        )
    return options.model_copy(update={"unires_command": named.unires or ""})


@torch.inference_mode()
def look(bench: Bench, read: Read, n: int, title: str) -> tuple[pd.DataFrame, np.ndarray]:
    """What is measured of n volumes, and their features [n,D]."""
    measured, features = [], []
    for chunk in track(chunks(n, bench.options.batch_size), title, console=Console(stderr=True)):
        images = read(chunk)
        measured.append(bench.tools.measure(images, bench.rules.quality))
        features.append(bench.embed(torch.from_numpy(images).to(bench.tools.device)).astype(np.float32))
    return pd.concat(measured, ignore_index=True), np.concatenate(features)


def alone(bench: Bench, rows: pd.DataFrame, measured: pd.DataFrame, read: Read) -> Entries:
    """What needs no real scans: obedience, where the table says what was asked for; likeness, sharpness, quality."""
    drawn = bench.options.bootstrap, bench.given.seed
    entries: Entries = {}
    for name, unit, asked, found in conditioning.COVARIATES:
        if asked in rows:
            got = measured[found.removeprefix("measured_")]
            entries |= summary.obedience(name, unit, rows[asked], got, *drawn)
            entries |= conditioning.other_things_equal(name, rows.assign(**{found: got.to_numpy()}), asked, found, *drawn)
    return {
        **entries,
        **diversity(read, len(rows), bench.options.ssim_pairs, bench.given.seed, bench.tools.device, sample=bench.options.ssim_sample),
        **summary.means_of({"sharpness": measured["sharpness"].to_numpy()}, *drawn),
        **summary.entry("qc_pass_fraction", measured["qc_pass"].mean(), len(rows)),
    }


def beside_scans(bench: Bench, path: Path, rows: pd.DataFrame, measured: pd.DataFrame, features: np.ndarray) -> Entries:
    """FID and its companions, likeness, sharpness, the age model, regions: of the run's real scans, as the stage `evaluate` has them."""
    real, drawn = VolumeSet(path, bench.given.grid), (bench.options.bootstrap, bench.given.seed)
    for name in real.table["volume"]:
        file_inside(path.parents[1], os.path.normpath(f"{path.parent.name}/{name}"))
    theirs, others = look(bench, real.batch, len(real), "real scans")
    held_out, all_known = (real.table["split"] == "test").to_numpy(), set(covariates.NAMES) <= set(rows.columns)
    tested = real.table[held_out].assign(age_predicted_years=theirs["age_predicted_years"].to_numpy()[held_out])
    theirs_ml, ours_ml = (
        {name: side[name].to_numpy() / 1000 for name in (ICV, *NAMES.values()) if name in side} for side in (theirs, measured)
    )
    n_pairs, sample = bench.options.ssim_pairs, bench.options.ssim_sample
    return {
        **fidelity.fidelity(others, features, bench.given.seed),
        **diversity(real.batch, len(real), n_pairs, bench.given.seed, bench.tools.device, "real", sample),
        **summary.means_of({"sharpness_real": theirs["sharpness"].to_numpy()[held_out]}, *drawn),
        **summary.obedience("age", "years", tested["age_years"], tested["age_predicted_years"], *drawn, kind="real"),
        **conditioning.other_things_equal("age", tested, "age_years", "age_predicted_years", *drawn, kind="real"),
        "tables": {"anatomy": anatomy.regions(theirs_ml, ours_ml, real.table, rows)} if all_known else {},
    }


def beside_figures(models: Path) -> Entries:
    """What the run's report says of its real scans and of their reconstructions."""
    path = file_inside(models, "evaluate/report.json")
    report = read_json(path)
    if not isinstance(report, dict):
        raise DataError(f"{path}: expected the figures of an evaluation, found {type(report).__name__}.")
    of_scans = {name: value for name, value in report.items() if "_real" in name or "_reconstruction" in name}
    wanted = {name: value for name, value in of_scans.items() if name.startswith(OF_THE_RUN)}
    for name, value in wanted.items():
        if not name.isidentifier() or not _is_figure(value):
            raise DataError(f"{path}: {printable(name, 60)}: expected a number or an interval, found {printable(value, 60)}.")
    return wanted


def _is_figure(value: object) -> bool:
    """Whether a value is a number or an interval; not a number (NaN) is a figure that could not be computed."""
    values = value if isinstance(value, list) and len(value) == 2 else [value]
    return all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
