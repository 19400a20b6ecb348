"""Table 1 of Pinaya et al. 2022 from this run: two GANs, two samplers and real scans by the same metrics, beside the published numbers."""

from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm.core.config import Evaluate, PaperTable, read_section
from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.core.grid import Grid
from brainldm.formats import paper_table, parts
from brainldm.formats.nifti import SLOPE
from brainldm.formats.shard_set import ShardSet
from brainldm.formats.tables import read_parquet
from brainldm.formats.volumes import VolumeSet
from brainldm.metrics import summary
from brainldm.metrics.diversity import diversity, scales
from brainldm.metrics.fidelity import fidelity
from brainldm.metrics.summary import Entries
from brainldm.models import age, panel, rows
from brainldm.models import latents as cache
from brainldm.models.devices import device_class
from brainldm.models.training import make_fabric

ROWS = ("lsgan", "vaegan", "ddpm", "ddim")


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    evaluate: Annotated[Path, typer.Option(help="section file of evaluate: features, pairs, bootstrap")],
    covariates: Annotated[Path, typer.Option(help="table of covariates of the real scans")],
    request: Annotated[list[Path], typer.Option(help="request table of a shard, whose first rows are timed; repeat for every shard")],
    shard: Annotated[list[Path], typer.Option(help="manifest of a shard, in a folder lsgan, vaegan, ddpm or ddim; repeat for every one")],
    age_model: Annotated[Path, typer.Option("--age", help="age model checkpoint")],
    baseline: Annotated[list[Path], typer.Option(help="baseline checkpoint, in a folder lsgan or vaegan; repeat for both")],
    autoencoder: Annotated[Path, typer.Option(help="autoencoder checkpoint")],
    diffusion: Annotated[Path, typer.Option(help="diffusion checkpoint")],
    out: Annotated[Path, typer.Option(help="table.json to write; table.md and figure.png go beside it")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Every row is scored by the same code at the same n; the order of the models comes out as measured."""
    given, how = read_section(section, "paper_table"), read_section(evaluate, "evaluate").own(Evaluate)
    options, seed, fabric = given.own(PaperTable), given.seed, make_fabric(device, given.precision, given.seed)
    made, real = _by_row(shard, given.grid), VolumeSet(covariates, given.grid)
    embed, features_name = panel.embedding(how.features, age.load(age_model).to(fabric.device), age_model, fabric.device)
    made_from = cache.fingerprint([sha256(path) for path in (evaluate, covariates, *shard, age_model)], features_name)
    look = {name: parts.Parts(out.parent / "work" / name, made_from) for name in (*ROWS, "real")}
    alike = partial(diversity, n_pairs=how.ssim_pairs, seed=seed, device=fabric.device)

    def embedded(volumes: VolumeSet | ShardSet, name: str) -> np.ndarray:
        ask = partial(panel.over, ask=lambda images: {"features": embed(images)}, batch_size=how.batch_size, device=fabric.device)
        return look[name]("features", len(volumes), lambda part: ask(volumes.batch, part, f"{name}: features"))["features"]

    theirs, found = embedded(real, "real"), dict[str, Entries]()
    models: dict[str, tuple[Path, Path | None]] = {path.parent.name: (path, None) for path in baseline}
    models |= dict.fromkeys(("ddpm", "ddim"), (autoencoder, diffusion))
    timed = pd.concat([read_parquet(path) for path in request]).head(options.timed)
    for name, volumes in made.items():
        seconds = rows.seconds_each(rows.load_any(*models[name], fabric, volumes.sampling), timed, volumes.sampling, SLOPE)
        against = fidelity(theirs, embedded(volumes, name), seed)
        similar = alike(volumes.batch, len(volumes), keep=look[name])
        found[name] = {"n": len(volumes), **against, **similar, **summary.mean_of("seconds", seconds, how.bootstrap, seed)}
    of_real = {key.replace("_real", ""): value for key, value in against.items() if "_real" in key and "variance" not in key}
    found["real"] = {"n": len(real), **of_real, **alike(real.batch, len(real), keep=look["real"])}
    about = {"features": features_name, "device": device_class(fabric.device), **scales(given.grid.shape)}
    shown = {name: volumes.batch(range(paper_table.SHOWN))[:, 0] for name, volumes in made.items()}
    shown["real"] = real.batch(range(paper_table.SHOWN))[:, 0]
    text = paper_table.write(out, found, about, shown, given.grid)
    typer.echo(text)
    for keep in look.values():
        keep.forget()
    if not any((out.parent / "work").iterdir()):
        (out.parent / "work").rmdir()


def _by_row(shards: list[Path], grid: Grid) -> dict[str, ShardSet]:
    """The volumes of every row, whose shards lie in a folder of its name; DataError unless all rows have the same number."""
    sets = {name: ShardSet(paths, grid) for name in ROWS if (paths := [path for path in shards if path.parent.name == name])}
    found = {name: len(volumes) for name, volumes in sets.items()}
    if set(found) != set(ROWS) or len(set(found.values())) != 1:
        raise DataError(f"--shard: expected as many volumes of each of {', '.join(ROWS)}, found {found}")
    return sets
