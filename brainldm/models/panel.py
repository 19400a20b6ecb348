"""The four trained networks together: what an evaluation asks of them, batch by batch, with progress bars."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from rich.progress import track

from brainldm.core.config import Sampling
from brainldm.core.covariates import NAMES
from brainldm.core.grid import Grid
from brainldm.models import age, autoencoder, diffusion, ruler
from brainldm.models.noise import fresh_noise, row_noise
from brainldm.models.ruler import Ruler, volumes_ml
from brainldm.models.sampling import sample_volumes

PERCENTILES = (2, 98)  # of the training scans: where a ladder begins and ends
Arrays = dict[str, np.ndarray]
Read = Callable[[range], np.ndarray]  # places in a set -> images or latents


@dataclass(frozen=True)
class Panel:
    """Networks on one device, and the number of volumes that pass through them at once."""

    ruler: Ruler
    age: age.AgeModel
    autoencoder: autoencoder.Autoencoder
    diffusion: diffusion.Diffusion
    device: torch.device
    batch_size: int

    def describe(self, read: Read, n: int, title: str) -> Arrays:
        """Of n images [N,1,I,J,K]: the age model's `features` [N,D] and `age_predicted_years` [N]."""
        return self._over(read, n, title, self._description)

    def encode(self, read: Read, n: int, title: str) -> Arrays:
        """As `describe`, and the latent means `mu` [N,C*i*j*k]."""
        return self._over(
            read, n, title, lambda images: self._description(images) | {"mu": _numpy(self.autoencoder.encode(images)[0].flatten(1))}
        )

    def reconstruct(self, read: Read, n: int, title: str) -> Arrays:
        """Of n latent means [N,C,i,j,k]: `images` [N,1,I,J,K] in [0, 1] as float16, and their `ventricles_ml` [N]."""
        return self._over(read, n, title, self._reconstruction)

    def ladder(self, name: str, training: np.ndarray, n_steps: int, key: tuple[int, int], how: Sampling) -> Arrays:
        """One brain with one covariate moved (Pinaya et al. 2022, Fig. 2): `requested` and `measured` [S], `images` [S,I,J,K].

        `name` is ventricles_ml or age_years, training covariates are [N,4], `key` is (seed, row index) of the noise that all volumes
        start from. One volume at a time, because the decoder is dear in memory.
        """
        rows = ladder_rows(training, name, n_steps)
        noise = row_noise(*key, self.diffusion.latent_shape)[None]
        fresh = fresh_noise([key], self.diffusion.latent_shape)
        images = torch.cat([sample_volumes(self.diffusion, self.autoencoder, row[None], noise, how, fresh) for row in rows]).float()
        measured = self.age.predict(images) if name == "age_years" else volumes_ml(self.ruler, images)[name]
        return {"requested": rows[:, NAMES.index(name)], "measured": measured, "images": _numpy(images[:, 0])}

    def _description(self, images: torch.Tensor) -> Arrays:
        return {"features": self.age.features(images), "age_predicted_years": self.age.predict(images)}

    def _reconstruction(self, mu: torch.Tensor) -> Arrays:
        images = self.autoencoder.decode(mu).clamp(0, 1)
        return {"images": _numpy(images.half()), "ventricles_ml": volumes_ml(self.ruler, images)["ventricles_ml"]}

    def _over(self, read: Read, n: int, title: str, ask: Callable[[torch.Tensor], Arrays]) -> Arrays:
        parts = []
        with torch.inference_mode():
            for start in track(range(0, n, self.batch_size), title):
                values = read(range(start, min(start + self.batch_size, n)))
                parts.append(ask(torch.from_numpy(values).to(self.device)))
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def load(
    ruler_path: Path, age_path: Path, autoencoder_path: Path, diffusion_path: Path, grid: Grid, fabric: Fabric, batch_size: int
) -> Panel:
    """Load all four onto the fabric's device."""
    return Panel(
        ruler.load(ruler_path, grid, fabric),
        age.load(age_path).to(fabric.device),
        autoencoder.load(autoencoder_path).to(fabric.device),
        diffusion.load(diffusion_path).to(fabric.device),
        fabric.device,
        batch_size,
    )


def ladder_rows(training: np.ndarray, name: str, n_steps: int) -> np.ndarray:
    """Covariates [n_steps,4]: `name` from the 2nd to the 98th percentile of training covariates [N,4], the others at their median.

    The sex is the commoner one, because there is no median sex.
    """
    rows = np.tile(np.median(training, axis=0), (n_steps, 1))
    rows[:, 0] = float(training[:, 0].mean() > 0.5)
    column = NAMES.index(name)
    low, high = np.percentile(training[:, column], PERCENTILES)
    rows[:, column] = np.linspace(low, high, n_steps)
    return rows


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
