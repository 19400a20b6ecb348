"""Verify a dataset: its files, hashes, table and headers; with the weights, random rows of it are made again and compared."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from lightning_fabric import Fabric
from rich.console import Console
from rich.progress import track

from brainldm.core.config import Generate, Given
from brainldm.core.errors import DataError
from brainldm.core.files import sha256
from brainldm.core.findings import Finding, error, has_errors
from brainldm.core.schema import checked
from brainldm.formats import release_check
from brainldm.formats.dataset import Dataset, open_dataset
from brainldm.formats.findings_table import show
from brainldm.formats.nifti import SLOPE, decode_volume, quantise, voxel_sha256
from brainldm.models import devices, rows
from brainldm.models.training import make_fabric

TOLERANCE = 0.02  # of the intensity range; other precision moved a voxel by 0.0044 at most (docs/generation.md)
REMEDY = "take the row from a copy that is whole, or make it again: brainldm generate --rows"


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="a release, or a folder of results")],
    autoencoder: Annotated[Path | None, typer.Option(help="autoencoder checkpoint, to make rows again")] = None,
    diffusion: Annotated[Path | None, typer.Option(help="diffusion checkpoint, to make rows again")] = None,
    n_rows: Annotated[int, typer.Option("--rows", help="rows to make again, drawn at random", min=1)] = 20,
    seed: Annotated[int, typer.Option(help="of the draw", min=0)] = 0,
    tolerance: Annotated[
        float, typer.Option(help="of intensities in [0, 1], where device or versions are not those of then", min=0)
    ] = TOLERANCE,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:1")] = "auto",
    files: Annotated[bool, typer.Option(help="of a release, check files, table and headers")] = True,
) -> None:
    """Print a table of findings; exit with status 1 if a row is not what it should be.

    On the device class and library versions that made a row the bits must be the same; elsewhere no voxel may differ by more than
    the tolerance.
    """
    findings = list(release_check.check(folder)) if files and (folder / release_check.CHECKSUMS).exists() else []
    if autoencoder and diffusion:
        findings += rows_again(folder, (autoencoder, diffusion), n_rows, seed, tolerance, device)
    elif autoencoder or diffusion or not findings:
        raise DataError(f"{folder}: expected --autoencoder and --diffusion, or neither of them and a release, found something else")
    show(findings, Console())
    raise typer.Exit(1 if has_errors(findings) else 0)


def rows_again(folder: Path, weights: tuple[Path, Path], n_rows: int, seed: int, tolerance: float, device: str) -> list[Finding]:
    """Findings of `n_rows` rows of the dataset, drawn at random."""
    data = open_dataset(folder)
    given = checked(Given, data.provenance["section"], f"the provenance of {folder}")
    check_weights(data, folder, dict(zip(("autoencoder", "diffusion"), weights, strict=True)))
    fabric = make_fabric(device, given.precision, given.seed)
    chosen = data.table.sample(min(n_rows, len(data.table)), random_state=seed).sort_values("index")
    networks = rows.load(*weights, fabric, given.own(Generate))
    return list(track(made_again(data, chosen, given, networks, tolerance), "rows", len(chosen)))


def check_weights(data: Dataset, folder: Path, files: dict[str, Path]) -> None:
    """DataError, naming the file, unless these checkpoints made the dataset."""
    for name, path in files.items():
        expected, found = data.provenance["weights_sha256"].get(name, "none"), sha256(path)
        if found != expected:
            raise DataError(f"{path}: expected the {name} that made {folder}, with SHA-256 {expected}, found {found}")


def made_again(data: Dataset, chosen: pd.DataFrame, given: Given, networks: rows.Networks, tolerance: float) -> Iterator[Finding]:
    """A finding for every row of a part of the dataset's table."""
    for row, again in zip(chosen.to_dict("records"), rows.make(networks, chosen, given.own(Generate), SLOPE), strict=True):
        name = f"row {row['index']}, {data.name(row['index'])}"
        try:
            stored = quantise(decode_volume(data.read(row["index"]), given.grid, data.name(row["index"])))
        except DataError as fault:
            yield error(name, "cannot be read", str(fault), REMEDY)
            continue
        if voxel_sha256(stored) != row["voxel_sha256"]:
            yield error(name, "other voxels than the table says", "the file was changed after it was made", REMEDY)
            continue
        bitwise = is_like(data.machine(row["shard"]), networks.fabric)
        yield compared(name, stored, again.counts, 0 if bitwise else tolerance)


def is_like(machine: dict[str, object], fabric: Fabric) -> bool:
    """Whether bits must be the same here: the same class of device, precision and versions."""
    here = (devices.device_class(fabric.device), fabric.strategy.precision.precision, devices.versions())
    return here == (machine["device"], machine["precision"], machine["versions"])


def compared(name: str, stored: np.ndarray, again: np.ndarray, tolerance: float) -> Finding:
    """Voxels of a file against those made again, int16; a tolerance of 0 is bit for bit."""
    apart = np.abs(stored.astype(np.int32) - again)
    most = float(apart.max()) * SLOPE
    found = "the same bits" if most == 0 else f"{np.count_nonzero(apart)} of {apart.size} voxels differ, by {most:.4f} at most"
    if most <= tolerance:
        return Finding(name, found)
    allowed = f"up to {tolerance:g} is allowed on another device or with other versions" if tolerance else "here the bits must be the same"
    return error(name, found, f"the row does not follow from its covariates and these weights; {allowed}", REMEDY)
