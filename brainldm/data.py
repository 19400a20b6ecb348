"""A release as a torch data set: `BrainLDMDataset("brainldm-100k", where="age_years >= 70")`, from a folder or over HTTP."""

import gzip
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch.utils.data import Dataset

from brainldm.core.covariates import NAMES, covariate_array
from brainldm.formats.nifti import SLOPE, quantise
from brainldm.formats.package import AUTOENCODER
from brainldm.formats.places import read_part
from brainldm.formats.released import open_release, read_latent, read_volume_bytes
from brainldm.models.autoencoder import Autoencoder, load
from brainldm.models.fast import prepare_decoder


class BrainLDMDataset(Dataset[dict[str, Any]]):
    """Volumes of a release, packaged as files, shards or latents; `table` holds their rows, as pandas reads covariates.parquet.

    An item has `image` (float32 [1,I,J,K], right, anterior, superior), `covariates` (float32 [4]: sex with F as 0, age in years, ventricles
    and brain in mL), and `row`, the row of the table. Nothing is kept in memory, and hashes are checked. `transform` is called on the item.
    Latents are decoded on the CPU in 32 bits: what was generated so comes back bit for bit, other volumes but for their device's rounding.
    """

    def __init__(
        self, place: str | Path, where: str | None = None, n: int | None = None, transform: Callable[[dict[str, Any]], Any] | None = None
    ) -> None:
        self.release = open_release(str(place), where, n)
        self.table, self.transform = self.release.table, transform
        self._rows = self.table.to_dict("records")
        self._covariates = torch.from_numpy(covariate_array(self.table[list(NAMES)], str(place)).astype(np.float32))

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, place: int) -> Any:
        row = self._rows[place]
        image = self._decoded(row) if self.release.packaging == "latents" else self._stored(row)
        item = {"image": torch.from_numpy(image[None]), "covariates": self._covariates[place], "row": row}
        return item if self.transform is None else self.transform(item)

    def _stored(self, row: dict[Any, Any]) -> np.ndarray:
        image = nib.Nifti1Image.from_bytes(gzip.decompress(read_volume_bytes(self.release, row)))
        return np.asarray(image.dataobj, np.float32)

    @torch.inference_mode()
    def _decoded(self, row: dict[Any, Any]) -> np.ndarray:
        latent = torch.from_numpy(read_latent(self.release, row).astype(np.float32))
        return quantise(self._decoder.decode(latent[None])[0, 0].numpy()) * np.float32(SLOPE)

    @cached_property
    def _decoder(self) -> Autoencoder:
        with NamedTemporaryFile(suffix=".safetensors") as file:
            file.write(read_part(self.release.place, AUTOENCODER))
            file.flush()
            network = load(Path(file.name))
        prepare_decoder(network)
        return network
