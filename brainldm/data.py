"""A release as a torch data set: `BrainLDMDataset("brainldm-100k", where="age_years >= 70")`, from a folder or over HTTP."""

import shutil
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from brainldm.core.covariates import NAMES, covariate_array
from brainldm.core.errors import DataError
from brainldm.formats.nifti import SLOPE, decode_synthetic, quantise
from brainldm.formats.package import AUTOENCODER, CHECKSUMS
from brainldm.formats.places import full_name, open_whole
from brainldm.formats.released import locate, open_release, read_latent, read_volume_bytes, records
from brainldm.formats.released_values import MOST_VOLUME
from brainldm.models.autoencoder import Autoencoder, load
from brainldm.models.fast import prepare_decoder

MOST_AUTOENCODER = 512 << 20  # bytes


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
        self._covariates = torch.from_numpy(covariate_array(self.table[list(NAMES)], str(place)).astype(np.float32))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, place: int) -> Any:
        row = self._row(place)
        image = self._decoded(row) if self.release.packaging == "latents" else self._stored(row)
        item = {"image": torch.from_numpy(image[None]), "covariates": self._covariates[place], "row": row}
        return item if self.transform is None else self.transform(item)

    def _row(self, place: int) -> dict[str, Any]:
        if not -len(self.table) <= place < len(self.table):
            raise IndexError(place)
        start = place % len(self.table)
        return next(records(self.table.iloc[start : start + 1]))

    def _stored(self, row: dict[str, Any]) -> np.ndarray:
        name = f"{full_name(self.release.place, locate(row)[0])}: row {row['index']}"
        return decode_synthetic(read_volume_bytes(self.release, row), name, MOST_VOLUME)[0]

    @torch.inference_mode()
    def _decoded(self, row: dict[str, Any]) -> np.ndarray:
        latent = torch.from_numpy(read_latent(self.release, row).astype(np.float32))
        return quantise(self._decoder.decode(latent[None])[0, 0].numpy()) * np.float32(SLOPE)

    @cached_property
    def _decoder(self) -> Autoencoder:
        digest = self.release.checksums.get(AUTOENCODER)
        if digest is None:
            listed = full_name(self.release.place, CHECKSUMS)
            raise DataError(f"Cannot use {listed}: it does not list {AUTOENCODER}, which decodes latents.")
        with (
            open_whole(self.release.place, AUTOENCODER, digest, MOST_AUTOENCODER) as source,
            NamedTemporaryFile(suffix=".safetensors") as file,
        ):
            shutil.copyfileobj(source, file)
            file.flush()
            network = load(Path(file.name))
        prepare_decoder(network)
        return network
