"""Volumes that were not made here, scored: by themselves, beside the real scans of a run, or beside the figures that it left."""

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
from brainldm.core.config import Given
from brainldm.core.files import read_json
from brainldm.core.judging import Evaluate, Measure
from brainldm.core.labels import ICV, NAMES
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
Read = Callable[[range | np.ndarray], np.ndarray]


class Bench(NamedTuple):
    """What scores: settings of a run or a protocol, models, what turns images into features [N,D], and the features' name."""

    given: Given
    options: Evaluate
    rules: Measure
    placing: Given
    tools: measuring.Instruments
    embed: Callable[[torch.Tensor], np.ndarray]
    features: str


def bench(models: Path, segmenter: Path | None, features: Path | None, frozen: Protocol | None, device: str) -> Bench:
    """The models and settings that a run left in its results, on a device, or others; DataError for what is not there.

    Settings are those of a protocol where there is one; ConfigError for weights that are not.
    """
    told = frozen.settings if frozen else protocol.settings(models)
    given, years, ruler = (
        told["evaluate"],
        models / "train_age/model.safetensors",
        segmenter or models / "train_segmenter/model.safetensors",
    )
    options = given.own(Evaluate)
    if frozen:
        protocol.check(frozen, "age", years)
        protocol.check(frozen, "segmenter", ruler)
    if features:
        options = options.model_copy(update={"features": str(features)})
    if frozen and (features or "features" in frozen.files):
        protocol.check(frozen, "features", Path(options.features))
    fabric = make_fabric(device, given.precision, given.seed)
    tools = measuring.load(ruler, years, given.grid, fabric)
    embed, name = panel.embedding(options.features, age.load(years).to(fabric.device), years, fabric.device)
    return Bench(given, options, told["measure"].own(Measure), told["preprocess"], tools, embed, name)


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
    report = read_json(models / "evaluate/report.json")
    return {name: value for name, value in report.items() if name.startswith(OF_THE_RUN) and ("_real" in name or "_reconstruction" in name)}
