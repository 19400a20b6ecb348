"""The four trained networks together: what an evaluation asks of them, batch by batch, with progress bars."""

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import track
from scipy.ndimage import affine_transform

from brainldm.core.config import Evaluate, Sampling
from brainldm.core.covariates import NAMES, Ranges
from brainldm.core.files import sha256
from brainldm.core.grid import Grid
from brainldm.core.labels import columns_mm3
from brainldm.models import age, autoencoder, diffusion, fast, medicalnet, membership, ruler
from brainldm.models.noise import fresh_noise, row_noise
from brainldm.models.ruler import Ruler, volumes_ml
from brainldm.models.sampling import sample_latents

PERCENTILES = (2, 98)  # of the training scans: where a ladder begins and ends
ROUND_TO = (1.0, 5.0, 5.0, 25.0)  # in the order of NAMES: sex, years, mL, mL
WITHIN = ("ventricles_ml", "brain_ml", "age_years")  # the first two: paper, Fig. 2
BEYOND = {"ventricles_ml": (-0.5, 0.0, 1.0, 1.5, 1.9), "brain_ml": (-0.5, -0.3, -0.1, 0.5)}  # paper, Fig. 4, and anchors within
Arrays = dict[str, np.ndarray]
Read = Callable[[range], np.ndarray]  # places in a set -> images or latents


@dataclass(frozen=True)
class Panel:
    """Networks on one device, the features of FID and their name, and the number of volumes that pass through at once.

    The diffusion model, by far the largest, is loaded when it is called for.
    """

    ruler: Ruler
    age: age.AgeModel
    autoencoder: autoencoder.Autoencoder
    denoiser: Callable[[], diffusion.Diffusion]
    embed: Callable[[torch.Tensor], np.ndarray]
    features_name: str
    device: torch.device
    batch_size: int

    def describe(self, read: Read, part: range, title: str, also: Callable[[np.ndarray], Arrays]) -> Arrays:
        """Of the images [N,1,I,J,K] of a part: `features` of FID [N,D] and `age_predicted_years` [N].

        `also(images)` adds arrays of its own.
        """
        return self._over(read, part, title, lambda images: self._description(images) | also(_numpy(images)))

    def regions(self, read: Read, part: range, title: str) -> Arrays:
        """Of the images [N,1,I,J,K] of a part: the volume [N] in mL of every region, by SynthSeg's name."""
        columns = self._over(read, part, title, lambda images: columns_mm3(self.ruler.segment(images).label_ml))
        return {name: mm3 / 1000 for name, mm3 in columns.items()}

    def labels(self, images: np.ndarray, affine: np.ndarray, title: str) -> np.ndarray:
        """Images [N,I,J,K], or their grey values in 8 bits, on the grid of `affine` -> label maps [N,I,J,K] on that grid, uint8."""
        shape, white = images.shape[1:], 255 if images.dtype == np.uint8 else 1

        def ask(batch: torch.Tensor) -> Arrays:
            found = self.ruler.segment(batch)
            move = np.linalg.inv(found.affine) @ affine
            return {"labels": np.stack([affine_transform(one, move, output_shape=shape, order=0) for one in found.labels])}

        def read(part: range) -> np.ndarray:
            return images[part.start : part.stop, None].astype(np.float32) / white

        return self._over(read, range(len(images)), title, ask)["labels"]

    def reconstruct(self, read: Read, n: int, title: str, take: Callable[[np.ndarray], None]) -> np.ndarray:
        """The ventricles [N] in mL of what n latent means [N,C,i,j,k] decode to; `take` is given the images, batch by batch."""

        def ask(mu: torch.Tensor) -> Arrays:
            images = self.autoencoder.decode(mu).clamp(0, 1)
            take(_numpy(images.float()))
            return {"ventricles_ml": volumes_ml(self.ruler, images)["ventricles_ml"]}

        return self._over(read, range(n), title, ask)["ventricles_ml"]

    @torch.inference_mode()
    def encode(self, images: np.ndarray) -> np.ndarray:
        """Images [N,1,I,J,K] to latent means [N,C*i*j*k], float16."""
        return _numpy(self.autoencoder.encode(torch.from_numpy(images).to(self.device))[0].flatten(1).half())

    @torch.inference_mode()
    def decode(self, mu: np.ndarray) -> np.ndarray:
        """Latent means [N,C,i,j,k] to images [N,1,I,J,K] in [0, 1], float32."""
        return _numpy(self.autoencoder.decode(torch.from_numpy(mu).float().to(self.device)).clamp(0, 1).float())

    @torch.inference_mode()
    def denoising_scores(self, read: Read, covariates: np.ndarray, memorised: range, seed: int) -> Arrays:
        """Return membership scores [N] of latent means [N,C,i,j,k] under covariates [N,4]: `network` by the diffusion model's loss.

        `memoriser` by that of a perfect fit of the latents at `memorised`, the positive control; left out where there are none.
        """
        network = self.denoiser()
        conditions = torch.from_numpy(network.ranges.scale(covariates)).to(self.device)
        fitted: dict[str, membership.Denoiser] = {}
        if len(memorised):
            fitted["memoriser"] = membership.memoriser(self._modelled(network, read, conditions, memorised), network.schedule)
        found: dict[str, list[np.ndarray]] = {name: [] for name in ("network", *fitted)}
        for start in track(range(0, len(covariates), self.batch_size), "denoising losses"):
            part = range(start, min(start + self.batch_size, len(covariates)))
            latents = self._modelled(network, read, conditions, part)
            denoisers: dict[str, membership.Denoiser] = {
                "network": partial(network.epsilon, conditions=conditions[part.start : part.stop]),
                **fitted,
            }
            for name, denoiser in denoisers.items():
                found[name].append(membership.denoising_scores(denoiser, latents, network.schedule, seed))
            _trim()
        del network, fitted, denoisers, denoiser  # as large as all else together
        _trim()
        return {name: np.concatenate(scores) for name, scores in found.items()}

    def _modelled(self, network: diffusion.Diffusion, read: Read, conditions: torch.Tensor, part: range) -> torch.Tensor:
        """Return the latents [N,C,i,j,k] of a part, as the network models them."""
        mu = torch.from_numpy(read(part)).float().to(self.device)
        return network.from_latents(mu, conditions[part.start : part.stop])

    def ladders(self, training: np.ndarray, n_steps: int, key: tuple[int, int], how: Sampling) -> dict[str, Arrays]:
        """`ladder_NAME` within the range of training covariates [N,4], `beyond_NAME` outside it: brains of which one covariate moves.

        Pinaya et al. 2022, Figs. 2 and 4; each has `requested`, `measured` [S], `images` [S,I,J,K] in 8 bits, and `scaled` [S], what was
        requested in min-max units of the training scans. `key` is (seed, row index) of the noise that all volumes start from. One volume
        at a time, and all latents before the first is decoded: the diffusion model is gone by then, because networks are dear in memory.
        """
        denoiser = self.denoiser()
        ranges, noise = denoiser.ranges, row_noise(*key, denoiser.latent_shape)[None]
        fresh = fresh_noise([key], denoiser.latent_shape)
        asked = {f"ladder_{name}": (name, ladder_rows(training, name, n_steps)) for name in WITHIN}
        asked |= {f"beyond_{name}": (name, beyond_rows(training, name, ranges)) for name in BEYOND}
        latents = {title: [sample_latents(denoiser, row[None], noise, how, fresh) for row in rows] for title, (_, rows) in asked.items()}
        del denoiser
        _trim()
        return {title: self._climb(name, rows, latents[title], ranges) for title, (name, rows) in asked.items()}

    @torch.inference_mode()
    def _climb(self, name: str, rows: np.ndarray, latents: list[torch.Tensor], ranges: Ranges) -> Arrays:
        measured, images = [], []
        for latent in latents:
            image = self.autoencoder.decode(latent).float()
            measured.append(self.age.predict(image) if name == "age_years" else volumes_ml(self.ruler, image)[name])
            images.append(np.rint(255 * _numpy(image[0].clamp(0, 1))).astype(np.uint8))
            _trim()
        column = NAMES.index(name)
        scaled = (rows[:, column] - ranges.low[column]) / (ranges.high[column] - ranges.low[column])
        arrays = {"measured": np.concatenate(measured), "images": np.concatenate(images)}
        return {"requested": rows[:, column], "scaled": scaled, **arrays}

    def _description(self, images: torch.Tensor) -> Arrays:
        return {"features": self.embed(images).astype(np.float32), "age_predicted_years": self.age.predict(images)}

    def _over(self, read: Read, part: range, title: str, ask: Callable[[torch.Tensor], Arrays]) -> Arrays:
        return over(read, part, title, ask, self.batch_size, self.device)


def over(read: Read, part: range, title: str, ask: Callable[[torch.Tensor], Arrays], batch_size: int, device: torch.device) -> Arrays:
    """What `ask` says of the values that are read, batch by batch, joined."""
    parts = []
    with torch.inference_mode():
        for start in track(range(part.start, part.stop, batch_size), title):
            values = read(range(start, min(start + batch_size, part.stop)))
            parts.append(ask(torch.from_numpy(values).to(device)))
            _trim()
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def load(
    ruler_path: Path, age_path: Path, autoencoder_path: Path, diffusion_path: Path, grid: Grid, fabric: Fabric, options: Evaluate
) -> Panel:
    """Load them, and what makes the features of FID, onto the fabric's device; autoencoder and diffusion model as `generate` runs them."""
    years, coder = age.load(age_path).to(fabric.device), autoencoder.load(autoencoder_path).to(fabric.device)
    dtype = fast.compute_dtype(fabric)
    fast.prepare_encoder(coder, dtype)
    fast.prepare_decoder(coder, dtype)

    def denoiser() -> diffusion.Diffusion:
        network = diffusion.load(diffusion_path).to(fabric.device)
        fast.prepare_unet(network, dtype)
        return network

    return Panel(
        ruler.load(ruler_path, grid, fabric),
        years,
        coder,
        denoiser,
        *embedding(options.features, years, age_path, fabric.device),
        fabric.device,
        options.batch_size,
    )


def embedding(features: str, years: age.AgeModel, age_path: Path, device: torch.device) -> tuple[Callable[[torch.Tensor], np.ndarray], str]:
    """What turns images [N,1,I,J,K] into features [N,D], and a name that says which weights made them."""
    if features == "age":
        return years.features, f"age model, last block, mean over space; weights {sha256(age_path)[:12]}"
    network = medicalnet.load(Path(features)).to(device)
    name = f"MedicalNet {Path(features).name}, layer 4, mean over space; weights {sha256(Path(features))[:12]}"
    return lambda images: _numpy(network.features(images)[-1].mean((2, 3, 4))), name


def ladder_rows(training: np.ndarray, name: str, n_steps: int) -> np.ndarray:
    """Return covariates [n_steps,4]: `name` from the 2nd to the 98th percentile of training covariates [N,4], the others at their median.

    Percentiles are rounded outward and medians rounded, to multiples of ROUND_TO: they are single participants' values, and ladders are
    published. The sex is the commoner one, because there is no median sex.
    """
    steps = np.array(ROUND_TO)
    rows = np.tile(np.round(np.median(training, axis=0) / steps) * steps, (n_steps, 1))
    rows[:, 0] = float(training[:, 0].mean() > 0.5)
    column = NAMES.index(name)
    step = steps[column]
    low, high = np.percentile(training[:, column], PERCENTILES) / step
    rows[:, column] = np.linspace(np.floor(low) * step, np.ceil(high) * step, n_steps)
    return rows


def beyond_rows(training: np.ndarray, name: str, ranges: Ranges) -> np.ndarray:
    """Covariates [S,4] that leave the training range as far as the paper's: its BEYOND values of `name` in min-max units."""
    rows, column = ladder_rows(training, name, len(BEYOND[name])), NAMES.index(name)
    rows[:, column] = ranges.low[column] + np.array(BEYOND[name]) * (ranges.high[column] - ranges.low[column])
    return rows


def _trim() -> None:
    """Freed memory goes back to the system: of large networks and volumes glibc keeps hundreds of megabytes in scattered blocks."""
    with suppress(AttributeError, OSError, TypeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
