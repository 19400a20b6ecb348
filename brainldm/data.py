"""A release as a torch data set: `BrainLDMDataset("brainldm-100k", where="age_years >= 70")`, from a folder or over HTTP."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import torch
from torch.utils.data import Dataset

from brainldm.core.covariates import NAMES, covariate_array
from brainldm.formats.released import open_release, read_volume_bytes


class BrainLDMDataset(Dataset[dict[str, Any]]):
    """Volumes of a release, packaged as files or as shards; `table` holds their rows, as pandas reads covariates.parquet.

    An item has `image` (float32 [1,I,J,K], right, anterior, superior), `covariates` (float32 [4]: sex with F as 0, age in years, ventricles
    and brain in mL), and `row`, the row of the table. Nothing is kept in memory, and hashes are checked. `transform` is called on the item.
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
        image = nib.Nifti1Image.from_bytes(gzip.decompress(read_volume_bytes(self.release, row)))
        voxels = torch.from_numpy(np.asarray(image.dataobj, np.float32)[None])
        item = {"image": voxels, "covariates": self._covariates[place], "row": row}
        return item if self.transform is None else self.transform(item)
