"""Rows of the synthetic dataset, made one batch at a time: noise and covariates in, float16 latents and int16 voxels out.

A row's bytes depend on (seed, noise index, attempt, covariates, weights, sampler, batch size) alone: kernels are bitwise stable only at
one batch size, so a batch is padded; every latent is rounded to float16 and decoded by itself, so that decoding again gives the same bits.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric

from brainldm.core.config import Generate
from brainldm.core.covariates import covariate_array
from brainldm.core.errors import DataError
from brainldm.models import autoencoder, baselines, diffusion, fast
from brainldm.models.noise import fresh_noise, row_noise
from brainldm.models.sampling import sample_latents

Judge = Callable[[np.ndarray], list[str]]  # voxels of rows [N,I,J,K], always as many -> why each is rejected, "" if it is not


class Networks(NamedTuple):
    """What makes rows, rewritten for sampling (models.fast), on the device of the fabric."""

    diffusion: diffusion.Diffusion
    autoencoder: autoencoder.Autoencoder
    fabric: Fabric


class Baseline(NamedTuple):
    """A competitor's generator (models.baselines), which makes rows of noise as it is."""

    autoencoder: baselines.Generator
    fabric: Fabric


@dataclass(frozen=True)
class Row:
    """A row made: voxels int16 [I,J,K] in Fortran order, as multiples of a slope, and latent float16 [C,i,j,k].

    `attempt` counts its draws from 0, and `rejected` says of each earlier one what was wrong with it.
    """

    index: int
    counts: np.ndarray
    latent: np.ndarray
    attempt: int = 0
    rejected: tuple[str, ...] = ()


def load_any(autoencoder_model: Path, diffusion_model: Path | None, fabric: Fabric, how: Generate) -> Networks | Baseline:
    """As `load`, or where there is no diffusion model a baseline."""
    if diffusion_model:
        return load(autoencoder_model, diffusion_model, fabric, how)
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    return Baseline(baselines.load(autoencoder_model).to(fabric.device), fabric)


def load(autoencoder_model: Path, diffusion_model: Path, fabric: Fabric, how: Generate) -> Networks:
    """Both networks; ConfigError if the diffusion model cannot be sampled as asked."""
    # Without these cuDNN may take another algorithm in another run, and with it other bits.
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    denoiser, decoder = diffusion.load(diffusion_model), autoencoder.load(autoencoder_model)
    denoiser.check_guidance(how.guidance, str(diffusion_model))
    if denoiser.latent_shape != (wanted := decoder.latent_shape(decoder.grid.shape)):
        raise DataError(
            f"{diffusion_model}: this diffusion model makes latents of shape {denoiser.latent_shape}, and {autoencoder_model} decodes "
            f"{wanted}. Take both networks of one training."
        )
    fast.prepare(denoiser.to(fabric.device), decoder.to(fabric.device), fast.compute_dtype(fabric), compiled=how.compile)
    return Networks(denoiser, decoder, fabric)


def make(networks: Networks | Baseline, table: Any, how: Generate, slope: float, judge: Judge | None = None) -> Iterator[Row]:
    """The rows of a data frame with index, seed, covariates (physical units) and maybe attempt; DataError if voxels are not finite.

    What the judge rejects is drawn again in the next batch, until it passes or is the last of `how.attempts`, which is kept in any case.
    """
    attempts = np.broadcast_to(table.get("attempt", 0), len(table)).tolist()
    waiting, rejected = deque(range(len(table))), [list[str]() for _ in attempts]
    while waiting:
        places = [waiting.popleft() for _ in range(min(how.batch_size, len(waiting)))]
        full = np.arange(how.batch_size) % len(places)
        batch, again = table.iloc[places].assign(attempt=[attempts[place] for place in places]), []
        latents = _sample(networks, batch.iloc[full], how)
        volumes: Iterable[np.ndarray] = (
            decode(networks, latent, slope, f"row {index}") for index, latent in zip(batch["index"], latents, strict=False)
        )
        faults: Iterable[str] = repeat("")
        if judge:
            volumes = list(volumes)
            faults = judge(np.stack([volumes[place] for place in full]))
        for place, index, latent, counts, fault in zip(places, batch["index"].tolist(), latents, volumes, faults, strict=False):
            if fault and attempts[place] + 1 < how.attempts:
                rejected[place].append(fault)
                attempts[place] += 1
                again.append(place)
            else:
                yield Row(index, counts, latent, attempts[place], tuple(rejected[place]))
        waiting.extendleft(reversed(again))


def seconds_each(networks: Networks | Baseline, table: Any, how: Generate, slope: float) -> np.ndarray:
    """Seconds [N] that each row takes, made one at a time; the first is made twice, because a first call costs more."""
    alone, seconds = how.model_copy(update={"batch_size": 1}), []
    for place in [0, *range(len(table))]:
        start = time.perf_counter()
        list(make(networks, table.iloc[place : place + 1], alone, slope))
        seconds.append(time.perf_counter() - start)
    return np.array(seconds[1:])


@torch.inference_mode()
def decode(networks: Networks | Baseline, latent: np.ndarray, slope: float, name: str) -> np.ndarray:
    """The voxels int16 [I,J,K] of a latent float16 [C,i,j,k]: what `make` gave for it, bit for bit.

    They are quantised and put into Fortran order on the device, where that costs nothing, so that half the bytes are copied.
    """
    image = networks.autoencoder.decode(torch.from_numpy(latent).to(networks.fabric.device).float()[None])[0, 0].float()
    if not torch.isfinite(image).all():
        raise DataError(f"{name}: expected finite intensities, found others; the weights are damaged, or need precision: 32-true")
    counts = (image / slope).round().clamp(-32768, 32767).to(torch.int16)
    return counts.permute(2, 1, 0).contiguous().cpu().numpy().T


@torch.inference_mode()
def _sample(networks: Networks | Baseline, batch: Any, how: Generate) -> np.ndarray:
    """Latents float16 [N,C,i,j,k] of a full batch. Rows that share a noise_index, where there is one, start from the same noise."""
    shape = networks.autoencoder.noise_shape if isinstance(networks, Baseline) else networks.diffusion.latent_shape
    indices = batch.get("noise_index", batch["index"])
    keys = [(int(seed), int(index), int(attempt)) for seed, index, attempt in zip(batch["seed"], indices, batch["attempt"], strict=True)]
    noise = torch.stack([row_noise(seed, index, shape, attempt) for seed, index, attempt in keys])
    if isinstance(networks, Baseline):
        return noise.half().numpy()
    return sample_latents(networks.diffusion, covariate_array(batch), noise, how, fresh_noise(keys, shape)).half().cpu().numpy()
