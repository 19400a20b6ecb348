"""Everything that evaluate reads, of any number of scans and volumes and any grid: planted volumes, networks that have learned nothing."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from networks import requested, write_networks
from scans import TINY, ellipsoid, write_scans, write_section, write_segmenter

from brainldm.core.config import Config
from brainldm.core.rows import shard_rows
from brainldm.formats import shards
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256
from brainldm.formats.tables import read_tsv, write_parquet
from brainldm.models import age, autoencoder, checkpoint
from brainldm.models import latents as cache
from brainldm.stages import encode, evaluate

NO_ONE = {"weights_sha256": {}, "precision": "32-true", "device": "CPU", "versions": {}}


def write_shard(folder: Path, n: int, config: Config = TINY) -> Path:
    """A shard of n ellipsoids that are no scan's, as `generate` leaves it, with its request and measurements; its manifest."""
    out = folder / f"generate/000000-{n - 1:06d}.json"
    with shards.open_journal(folder / "work", "planted") as journal:
        for index in shard_rows(out.stem):
            counts = quantise(ellipsoid(config.grid, 10_000 + index))
            content = encode_volume(counts, config.grid, "planted")
            shards.commit(journal, index, content, voxel_sha256(counts), np.zeros((3, 1, 1, 1), np.float16))
        made_by = {**NO_ONE, "section": {"section": {"steps": 1, "batch_size": 1}}}
        shards.pack(journal, out.stem, out, made_by)  # type: ignore[arg-type]
    asked = requested(range(n))
    measured = asked[["index", "ventricles_ml", "brain_ml"]].assign(
        age_predicted_years=asked["age_years"] + 1.0, qc_pass=True, qc_reason=""
    )
    write_parquet(folder / f"request/{out.stem}.parquet", asked)
    write_parquet(folder / f"measure/{out.stem}.parquet", measured.assign(icv_ml=1500.0))
    return out


def write_age_model(path: Path, config: Config = TINY) -> Path:
    """An age model that has learned nothing."""
    torch.manual_seed(0)
    options = config.train_age.model_dump(include={"channels", "space_to_depth"})
    network = age.AgeModel({"kind": "age", **options, "shape": config.grid.shape, "age_mean": 60.0, "age_sd": 8.0})
    checkpoint.save(path, network.state_dict(), network.spec)
    return path


def write_judged(
    folder: Path, n_real: int, n_synthetic: int, config: Config = TINY, precision: str = "32-true", encoded: bool = True, **changes: object
) -> dict[str, Any]:
    """Everything that an evaluation of as many scans and volumes reads, under the names of the stage's arguments; and `out`.

    Unless `encoded`, the scans' latents are drawn at random.
    """
    covariates, shard = write_scans(folder, config.grid, n_real), write_shard(folder, n_synthetic, config)
    coder, denoiser = write_networks(folder, config=config)
    latents = folder / "encode/latents.json"
    if encoded:
        encode.main(write_section(folder / "encode.section", "encode", config, precision, batch_size=1), covariates, coder, latents, "cpu")
    else:
        mu, names = (
            torch.randn(n_real, *autoencoder.load(coder).latent_shape(config.grid.shape)),
            read_tsv(covariates)["participant_id"].tolist(),
        )
        cache.write_file(cache.file_of(latents, 0), mu, mu.abs(), names, "drawn")
        cache.write_manifest(latents, [names])
    changed = {"evaluate": changes, "measure": {}, "preprocess": {}}
    told = [write_section(folder / f"{stage}.section", stage, config, precision, **changed[stage]) for stage in changed]
    tables = {name: [folder / f"{name}/{shard.stem}.parquet"] for name in ("request", "measure")}
    networks = {
        "age": write_age_model(folder / "age.safetensors", config),
        "segmenter": write_segmenter(folder / "segmenter.safetensors", config),
    }
    files = {"covariates": covariates, "latents": latents, "shard": [shard], "autoencoder": coder, "diffusion": denoiser}
    sections = dict(zip(("section", "measuring", "preprocess"), told, strict=True))
    return {**sections, **files, **tables, **networks, "out": folder / "evaluate/report.json"}


def judge(folder: Path, n_real: int, n_synthetic: int, config: Config = TINY, **changes: object) -> Path:
    """Evaluate as many scans and volumes; report.json."""
    files = write_judged(folder, n_real, n_synthetic, config, **changes)
    evaluate.main(**files, device="cpu")
    return Path(files["out"])


def table(out: Path) -> pd.DataFrame:
    """The table of rows beside a report."""
    return pd.read_csv(out.with_name("agreement.tsv"), sep="\t")
