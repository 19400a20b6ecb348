"""The grid on which every preprocessed and every synthetic volume lies: RAS+, isotropic, centred on an MNI coordinate."""

import math
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator

from brainldm.core.errors import DataError

MOST_VOXELS = 2**27  # 512 x 512 x 512; a head at 0.5 mm has a third of them
Side = Annotated[int, Field(ge=1, le=1024)]
Coordinate = Annotated[float, Field(ge=-1000, le=1000)]


class Grid(BaseModel):
    """Shape (I, J, K) along right, anterior, superior; isotropic spacing; the MNI coordinate of the centre of the box."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    shape: tuple[Side, Side, Side] = Field(description="voxels along R, A, S")
    spacing_mm: float = Field(gt=0, le=20, description="edge of a voxel")
    center_mm: tuple[Coordinate, Coordinate, Coordinate] = Field(description="MNI coordinate of the centre of the box")

    @field_validator("shape")
    @classmethod
    def _fits_in_memory(cls, found: tuple[int, int, int]) -> tuple[int, int, int]:
        if math.prod(found) > MOST_VOXELS:
            raise ValueError(f"a volume has at most {MOST_VOXELS} voxels")
        return found

    @property
    def affine(self) -> np.ndarray:
        """Voxel index to RAS mm, [4, 4]."""
        affine = np.diag([self.spacing_mm] * 3 + [1.0])
        affine[:3, 3] = np.array(self.center_mm) - self.spacing_mm * (np.array(self.shape) - 1) / 2
        return affine

    @property
    def voxel_ml(self) -> float:
        """Volume of one voxel in mL."""
        return self.spacing_mm**3 / 1000

    def check(self, name: str, shape: tuple[int, ...], affine: np.ndarray) -> None:
        """Raise DataError, naming the file, unless `shape` and `affine` are this grid's (0.01 mm)."""
        if tuple(shape) != self.shape or not np.allclose(affine, self.affine, atol=1e-2):
            raise DataError(
                f"{name}: expected shape {self.shape} with {self.spacing_mm} mm voxels and origin {self.affine[:3, 3].tolist()}, "
                f"found shape {tuple(shape)} and affine {np.round(np.asarray(affine), 3).tolist()}"
            )
