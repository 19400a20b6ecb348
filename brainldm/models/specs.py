"""What the header of a checkpoint says of its network, as a schema for each kind: checked before a tensor is made.

A spec comes from a file that may be a stranger's. Its numbers become sides, channels and levels, so each has bounds, far above those of
any network that is published: the largest here has 768 channels, 4 levels and volumes of 160 x 224 x 160.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, Strict, StrictBool, StrictInt, model_validator

from brainldm.core.covariates import NAMES as COVARIATES
from brainldm.core.grid import MOST_VOXELS, Grid
from brainldm.core.labels import NAMES as LABELS
from brainldm.core.schema import HASH, Schema, checked

Count = Annotated[int, Strict(), Field(ge=1, le=4096)]
Few = Annotated[int, Strict(), Field(ge=1, le=16)]
Fold = Annotated[int, Strict(), Field(ge=1, le=16)]
Positions = Annotated[int, Strict(), Field(ge=0, le=256)]
Widths = Annotated[tuple[Count, ...], Field(min_length=1, max_length=8)]
Four = tuple[float, float, float, float]


class Spec(Schema):
    """What every header may hold beside the network's own numbers."""

    sha256: str | None = Field(None, pattern=HASH)


class AutoencoderSpec(Spec, Grid):
    """Of models.autoencoder."""

    kind: Literal["autoencoder"]
    channels: Widths
    latent_channels: Annotated[int, Strict(), Field(ge=1, le=256)]
    space_to_depth: Fold
    position_channels: Positions
    res_blocks: Few
    norm_groups: Count
    standardise: StrictBool = True
    right_to_left: StrictBool = False

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_groups(self.channels, self.norm_groups)
        _check_sides(self.shape, self.space_to_depth * 2 ** (len(self.channels) - 1))
        return self


class CovariateRanges(Schema):
    """Of a diffusion model: where its covariates lie, in the order of covariates.NAMES."""

    low: Four
    high: Four

    @model_validator(mode="after")
    def _low_is_lower(self) -> Self:
        for name, low, high in zip(COVARIATES, self.low, self.high, strict=True):
            if not -1e6 <= low < high <= 1e6:
                raise ValueError(f"the range of {name} must rise, within -1e6 to 1e6")
        return self


class DiffusionSpec(Spec):
    """Of models.diffusion."""

    kind: Literal["diffusion"]
    latent_shape: Annotated[tuple[Count, Count, Count, Count], Field(description="channels and sides")]
    ranges: CovariateRanges
    channels: Widths
    attention_levels: tuple[StrictBool, ...]
    head_channels: tuple[Annotated[int, Strict(), Field(ge=0, le=4096)], ...]
    space_to_depth: Fold
    position_channels: Positions
    res_blocks: Few
    norm_groups: Count
    prediction: Literal["epsilon", "v_prediction"]
    timesteps: Annotated[int, Strict(), Field(ge=1, le=100_000)]
    beta_start: float = Field(gt=0, lt=1)
    beta_end: float = Field(gt=0, lt=1)
    condition_dropout: float | None = Field(None, ge=0, lt=1)
    scale_factor: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_groups(self.channels, self.norm_groups)
        _check_sides(self.latent_shape[1:], self.space_to_depth * 2 ** (len(self.channels) - 1))
        if math.prod(self.latent_shape) > MOST_VOXELS:
            raise ValueError(f"a latent has at most {MOST_VOXELS} values")
        if not len(self.channels) == len(self.attention_levels) == len(self.head_channels):
            raise ValueError("channels, attention_levels and head_channels must be of one length")
        for width, attends, head in zip(self.channels, self.attention_levels, self.head_channels, strict=True):
            if attends and (head == 0 or width % head):
                raise ValueError(f"where a level attends, head_channels must divide its channels: {head} and {width}")
        if self.beta_end < self.beta_start:
            raise ValueError("beta_end must not be below beta_start")
        return self


class AgeSpec(Spec):
    """Of models.age."""

    kind: Literal["age"]
    shape: tuple[Count, Count, Count]
    channels: Widths
    space_to_depth: Fold
    age_mean: float = Field(ge=-200, le=200)
    age_sd: float = Field(gt=0, le=200)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_groups(self.channels, 4)
        _check_sides(self.shape, self.space_to_depth)
        if math.prod(self.shape) > MOST_VOXELS or min(self.shape) < self.space_to_depth * 2 ** len(self.channels):
            raise ValueError("the sides of shape must leave a voxel at the coarsest level, and make no more than fits in memory")
        return self


class SegmenterSpec(Spec):
    """Of models.segmenter."""

    kind: Literal["segmenter"]
    voxel_ml: float = Field(gt=0, le=8)
    labels: Annotated[tuple[StrictInt, ...], Field(min_length=2, max_length=256)]
    init_filters: Annotated[int, Strict(), Field(ge=1, le=1024)]
    levels: Annotated[int, Strict(), Field(ge=1, le=8)]
    space_to_depth: Fold

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_groups((self.init_filters,), 4)
        if strange := [label for label in self.labels if label not in LABELS]:
            raise ValueError(f"no FreeSurfer label of SynthSeg's: {strange[:3]}")
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("a label stands there twice")
        return self


class BaselineSpec(Spec, Grid):
    """Of models.baselines."""

    kind: Literal["baseline"]
    method: Literal["lsgan", "vaegan"]
    channels: Widths
    latent_channels: Count
    space_to_depth: Fold
    norm_groups: Count

    @model_validator(mode="after")
    def _fits(self) -> Self:
        _check_groups(self.channels, self.norm_groups)
        return self


class LatentsSpec(Spec):
    """Of models.latents."""

    kind: Literal["latents"]
    participant_id: list[str]
    made_from: str


SPECS: dict[str, type[Spec]] = {
    "autoencoder": AutoencoderSpec,
    "diffusion": DiffusionSpec,
    "age": AgeSpec,
    "segmenter": SegmenterSpec,
    "baseline": BaselineSpec,
    "latents": LatentsSpec,
}


def check(path: Path, spec: dict[str, Any]) -> None:
    """DataError, naming the file and the fields, unless `spec` is what its kind of network needs."""
    checked(SPECS[spec["kind"]], spec, str(path))


def _check_groups(channels: tuple[int, ...], groups: int) -> None:
    if any(width % groups for width in channels):
        raise ValueError(f"each of channels (or init_filters) must be a multiple of {groups}, the groups of the normalisation")


def _check_sides(shape: tuple[int, ...], factor: int) -> None:
    if any(side % factor for side in shape):
        raise ValueError(f"each side must be a multiple of {factor}, the step of the coarsest level")
