"""Generate one shard of volumes: requested rows and two networks in, a tar and its manifest out; finished rows survive a kill."""

import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer

from brainldm import __version__
from brainldm.core.config import Generate, Given, read_section
from brainldm.core.covariates import NAMES, covariate_array
from brainldm.core.files import sha256
from brainldm.core.rows import participant_id
from brainldm.formats import shards
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256
from brainldm.formats.tables import read_parquet
from brainldm.formats.volumes import chunks
from brainldm.models import autoencoder, diffusion, fast
from brainldm.models.noise import fresh_noise, row_noise
from brainldm.models.sampling import sample_volumes
from brainldm.models.training import make_fabric


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    request: Annotated[Path, typer.Option(help="requested rows of the shard")],
    autoencoder_model: Annotated[Path, typer.Option("--autoencoder", help="autoencoder checkpoint")],
    diffusion_model: Annotated[Path, typer.Option("--diffusion", help="diffusion checkpoint")],
    out: Annotated[Path, typer.Option(help="manifest to write; the tar stands beside it, and rows in progress in work/")],
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Batches are always full, and a row sees only its own noise, so its bytes depend neither on the shard nor on a restart."""
    given = read_section(section, "generate")
    rows = read_parquet(request, ["index", "seed", *NAMES])
    covariate_array(rows, str(request))  # a value that is missing or unknown is an error before anything is written
    weights = {path.parent.name: sha256(path) for path in (autoencoder_model, diffusion_model)}
    versions = {"brainldm": __version__, "torch": torch.__version__}
    provenance = {"section": given.model_dump(mode="json"), "weights_sha256": weights, "versions": versions}
    identity = shards.fingerprint(provenance=provenance, request_sha256=sha256(request))
    with shards.open_journal(out.parent / "work" / out.stem, identity) as journal:
        missing = rows[~rows["index"].isin(journal.finished)]
        logging.info("shard %s: %d of %d rows to generate", out.stem, len(missing), len(rows))
        if len(missing):
            _generate(missing, given, journal, (autoencoder_model, diffusion_model), device)
        shards.pack(journal, out.stem, out, {**provenance, "device": device})
        shards.discard(journal)


def _generate(rows: pd.DataFrame, given: Given, journal: shards.Journal, models: tuple[Path, Path], device: str) -> None:
    options = given.own(Generate)
    fabric = make_fabric(device, given.precision, given.seed)
    decoder, denoiser = autoencoder.load(models[0]).to(fabric.device), diffusion.load(models[1]).to(fabric.device)
    denoiser.check_guidance(options.guidance, str(models[1]))
    fast.prepare(denoiser, decoder, fast.compute_dtype(fabric), compiled=options.compile)
    for chunk in chunks(len(rows), options.batch_size):
        batch = rows.iloc[list(chunk)]
        padded = batch.iloc[np.arange(options.batch_size) % len(batch)]  # kernels are bitwise stable only at one batch size
        keys = [(int(seed), int(index)) for seed, index in zip(padded["seed"], padded["index"], strict=True)]
        noise = torch.stack([row_noise(*key, denoiser.latent_shape) for key in keys])
        fresh = fresh_noise(keys, denoiser.latent_shape)
        images = sample_volumes(denoiser, decoder, covariate_array(padded), noise, options, fresh)
        counts = quantise(images[: len(batch), 0].float().cpu().numpy())
        for index, voxels in zip(batch["index"], counts, strict=True):
            description = f"SYNTHETIC T1w brainldm {participant_id(int(index))}"
            shards.commit(journal, int(index), encode_volume(voxels, given.grid, description), voxel_sha256(voxels))
        logging.info("shard %s: %d rows left", journal.folder.name, len(rows) - chunk.stop)
