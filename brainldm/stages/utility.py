"""What synthetic volumes are good for: age models trained on real scans, on synthetic volumes and on both, tested on held-out scans."""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from brainldm.core.config import Evaluate, read_section
from brainldm.formats import utility
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.volumes import VolumeSet
from brainldm.metrics.utility import compare
from brainldm.models import age, panel
from brainldm.models.devices import device_class
from brainldm.models.training import make_fabric

REFERENCE = "real"


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    evaluate: Annotated[Path, typer.Option(help="section file of evaluate: batch size, bootstrap")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of the real scans")],
    shard: Annotated[list[Path], typer.Option(help="manifest of a shard that was trained on; repeat for every one")],
    real: Annotated[list[Path], typer.Option(help="age model trained on real scans; repeat for every training")],
    synthetic: Annotated[list[Path], typer.Option(help="age model trained on synthetic volumes; repeat for every training")],
    both: Annotated[list[Path], typer.Option(help="age model trained on both; repeat for every training")],
    out: Annotated[Path, typer.Option(help="table.json to write; table.md and figure.png go beside it")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """All models have the same number of steps; none has seen a held-out scan, nor has what made the synthetic volumes."""
    given, how = read_section(section, "utility"), read_section(evaluate, "evaluate").own(Evaluate)
    fabric, held_out = make_fabric(device, given.precision, given.seed), VolumeSet(covariates, given.grid, "test")
    true, train = held_out.table["age_years"].to_numpy(float), VolumeSet(covariates, given.grid, "train").table["age_years"]

    def predictions(path: Path, title: str) -> np.ndarray:
        model = age.load(path).to(fabric.device)
        ask = panel.over(
            held_out.batch, range(len(held_out)), title, lambda images: {"age": model.predict(images)}, how.batch_size, fabric.device
        )
        return ask["age"]

    models = {"real": real, "synthetic": synthetic, "both": both}
    predicted = {
        name: np.stack([predictions(path, f"trained on {utility.NAMES[name]}, {turn + 1}") for turn, path in enumerate(paths)])
        for name, paths in models.items()
    }
    n_made = len(ShardSet(shard, given.grid))
    sizes = {"real": (len(train), 0), "synthetic": (0, n_made), "both": (len(train), n_made)}
    found = compare(true, predicted, REFERENCE, how.bootstrap, given.seed)
    rows = {
        name: {"n_scans": sizes[name][0], "n_synthetic": sizes[name][1], "n_trainings": len(predicted[name]), **figures}
        for name, figures in found.items()
    }
    about = {
        "n_held_out": len(true),
        "mae_years_of_the_mean": float(np.abs(true - train.mean()).mean()),
        "device": device_class(fabric.device),
    }
    typer.echo(utility.write(out, rows, about, true, predicted))
