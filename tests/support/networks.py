"""Requested rows and networks with random weights, for the tests of generation: everything real but what was learned."""

import multiprocessing
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from held import hold_before_rename
from scans import TINY, write_section

from brainldm.core.config import Config
from brainldm.core.covariates import Ranges
from brainldm.core.rows import participant_id
from brainldm.formats.tables import write_parquet
from brainldm.models import autoencoder, checkpoint, diffusion
from brainldm.stages import generate

RANGES = Ranges((0, 44, 10, 1000), (1, 82, 110, 1500))


def write_networks(folder: Path, seed: int = 0, dropout: float = 0.0, config: Config = TINY) -> tuple[Path, Path]:
    """Checkpoints of an autoencoder and a diffusion model whose weights are random and follow from the seed."""
    torch.manual_seed(seed)
    decoder = autoencoder.build(config.train_autoencoder, config.grid)
    options = config.train_diffusion.model_copy(update={"condition_dropout": dropout})
    network = diffusion.build(options, decoder.latent_shape(config.grid.shape), RANGES)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    paths = folder / "train_autoencoder/model.safetensors", folder / "train_diffusion/model.safetensors"
    for path, model in zip(paths, (decoder, network), strict=True):
        checkpoint.save(path, model.state_dict(), model.spec)
    return paths


def requested(rows: range) -> pd.DataFrame:
    """Requests as the stage before leaves them; every value of a row follows from its index."""
    drawn = np.array([np.random.default_rng(index).uniform((44, 10, 1000), (82, 110, 1500)) for index in rows], np.float32)
    frame = pd.DataFrame(drawn, columns=["age_years", "ventricles_ml", "brain_ml"])
    identity = {"index": rows, "participant_id": [participant_id(index) for index in rows], "noise_index": rows}
    frame = frame.assign(**identity, seed=7, sex=["FM"[index % 2] for index in rows], in_support=True)
    return frame.assign(design="uniform", cell="")


def write_requests(folder: Path, shards: list[range]) -> list[Path]:
    """A request table for every shard."""
    paths = [folder / f"request/{rows[0]:06d}-{rows[-1]:06d}.parquet" for rows in shards]
    for path, rows in zip(paths, shards, strict=True):
        write_parquet(path, requested(rows))
    return paths


def write_results(folder: Path, shards: list[range], **changes: object) -> Path:
    """A folder of results up to the requests and the networks; `changes` go into the section of generate."""
    write_section(folder / "configure/generate.json", "generate", **{"attempts": 1, **changes})
    write_networks(folder)
    write_requests(folder, shards)
    return folder


def make_shard(results: Path, shard: str) -> Path:
    """Generate one shard of such a folder, judged where it holds what judges; its manifest."""
    files = (f"train_{name}/model.safetensors" for name in ("autoencoder", "diffusion"))
    out = results / f"generate/{shard}.json"
    request = [results / f"request/{shard}.parquet"]
    judges = {name: path for name in ("segmenter", "age") if (path := results / f"train_{name}/model.safetensors").exists()}
    generate.main(results / "configure/generate.json", request, *(results / name for name in files), out, **judges, device="cpu")
    return out


def hold_file(results: Path) -> Path:
    """Return the file that keeps a worker from finishing the last row; it lies beside the results."""
    return results.with_name(f"{results.name}.hold")


def make_shard_held(results: Path, shard: str) -> None:
    """Make the shard, but wait before its last row is finished while the hold stands."""
    hold_before_rename(hold_file(results), f"{shard.partition('-')[2]}.row")
    make_shard(results, shard)


def worker(results: Path, shard: str, until_rows: int) -> multiprocessing.Process:
    """A process that makes the shard, once it has finished that many rows; it waits before the last row while `hold_file` stands."""
    context = multiprocessing.get_context("forkserver")  # imports torch once, and has run no thread of it when it forks
    context.set_forkserver_preload(["networks"])
    process = context.Process(target=make_shard_held, args=(results, shard))
    process.start()
    while len(list((results / "generate/work" / shard).glob("0*.row"))) < until_rows:
        assert process.is_alive(), "the worker ended before it was told to"
        time.sleep(0.002)
    return process
