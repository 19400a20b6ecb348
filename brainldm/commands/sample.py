"""Synthetic brains for one person at one prompt: four covariates in; NIfTI volumes, a table of them and a picture out."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import typer
from rich.console import Console
from rich.progress import Progress

from brainldm.core import outputs
from brainldm.core.config import Generate
from brainldm.core.covariates import covariate_array
from brainldm.core.errors import ConfigError
from brainldm.core.files import sha256, write_json, writing
from brainldm.core.rows import participant_id
from brainldm.formats.figures import grey_png, sheet
from brainldm.formats.nifti import SLOPE, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.model import load, request
from brainldm.models import pretrained

BESIDE = ("samples.tsv", "samples.json", "preview.png")
PICTURED = 16  # volumes at most in the preview


def main(
    age: Annotated[float, typer.Option(help="in years")],
    sex: Annotated[Literal["F", "M"], typer.Option(help="F or M")],
    ventricles_ml: Annotated[float, typer.Option(help="volume of the lateral ventricles, not normalised for head size")],
    brain_ml: Annotated[float, typer.Option(help="volume of grey and white matter, normalised for head size")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder to write to")],
    n: Annotated[int, typer.Option("--number", "-n", help="volumes, which differ in their noise", min=1)] = 1,
    seed: Annotated[int, typer.Option(help="of the noise", min=0)] = 0,
    index: Annotated[int, typer.Option(help="row that the first volume is: with the seed, the key of its noise", min=0)] = 0,
    attempt: Annotated[int, typer.Option(help="draw of the rows: of a row that was drawn again, as its table says", min=0)] = 0,
    model: Annotated[Path | None, typer.Option(help="results/ of a run, or an imported bundle; the packaged model by default")] = None,
    autoencoder_model: Annotated[Path | None, typer.Option("--autoencoder", help="checkpoint, instead of --model")] = None,
    diffusion_model: Annotated[Path | None, typer.Option("--diffusion", help="checkpoint, instead of --model")] = None,
    steps: Annotated[int | None, typer.Option(help="of the sampler; the model's own by default", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="volumes at once; the model's own by default", min=1)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """The bytes are those of the row that `generate` makes of the same seed, index, covariates, weights, settings and batch size."""
    files = _files(model, autoencoder_model, diffusion_model)
    names = [f"{participant_id(row)}_T1w.nii.gz" for row in range(index, index + n)]
    out = outputs.check_folder(out, (*names, *BESIDE), overwrite, [path for path in files if path])
    made_by = load(files, device=device, steps=steps, batch_size=batch_size)
    given, denoiser = made_by.given.model_copy(update={"seed": seed}), made_by.networks.diffusion
    table = request(n, seed, index, age_years=age, sex=sex, ventricles_ml=ventricles_ml, brain_ml=brain_ml).assign(attempt=attempt)
    for warning in denoiser.ranges.beyond(covariate_array(table, "the covariates asked for")[0]):
        logging.warning(warning)
    table["file"] = names
    pictures: list[np.ndarray] = []
    with writing(out), counted(denoiser, _evaluations(given.own(Generate), n)):
        for name, made in zip(table["file"], made_by.make(table), strict=True):
            write_bytes(out / name, made.content)
            pictures.extend([made.counts * SLOPE][: PICTURED - len(pictures)])
        write_tsv(out / "samples.tsv", table.assign(sha256=[sha256(out / name) for name in table["file"]]))
        hashes = {"autoencoder": sha256(made_by.files.autoencoder), "diffusion": sha256(made_by.files.diffusion)}
        write_json(out / "samples.json", {"weights_sha256": hashes, "generate": given.model_dump(mode="json")})
        write_bytes(out / "preview.png", grey_png(sheet(pictures, given.grid)))
    logging.info("%s: %d volumes, samples.tsv, preview.png", out, n)


def _evaluations(how: Generate, n: int) -> int:
    return -(-n // how.batch_size) * how.steps * (1 if how.guidance == 1 else 2)


def _files(folder: Path | None, coder: Path | None, denoiser: Path | None) -> pretrained.Model:
    if coder and denoiser and not folder:
        return pretrained.Model(coder, denoiser, None)
    if coder or denoiser:
        raise ConfigError("expected --model, or both --autoencoder and --diffusion, or none of the three (the packaged model)")
    return pretrained.find(folder or pretrained.PACKAGED)


@contextmanager
def counted(network: torch.nn.Module, total: int) -> Iterator[None]:
    """A progress bar of so many evaluations of the network."""
    with Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("sampling", total=total)
        hook = network.register_forward_hook(lambda *_: progress.advance(task))
        try:
            yield
        finally:
            hook.remove()
