"""Sections of what is published: packed shards, and the release."""

from datetime import date
from typing import Literal

from pydantic import Field, field_validator

from brainldm.core.section import Section


class Pack(Section):
    """A shard as it is published."""

    piece_length: int = Field(gt=0, description="bytes of a torrent piece, a power of two; tars are filled up to a multiple of it")

    @field_validator("piece_length")
    @classmethod
    def _power_of_two(cls, found: int) -> int:
        if found.bit_count() != 1 or found < 16384:
            raise ValueError("expected a power of two of at least 16384 bytes")
        return found


class Release(Section):
    """The package."""

    name: str = Field(pattern=r"^[A-Za-z0-9._-]+$")
    license: str = Field(description="of the data, as an SPDX identifier")
    skull_stripped: bool = Field(description="whether the scans trained on show the brain only; BIDS asks for it")
    packaging: Literal["files", "tars", "latents"] = Field(
        description="volumes one by one, the packed shards, or their latents with the autoencoder that decodes them"
    )
    sample: int = Field(0, ge=0, description="volumes of a second, small release beside this one: its first rows, as files")
    version: str = Field("1.0.0", description="of the dataset")
    published: date = Field(description="the day it is published on, for citations; no clock is read, so that a release can be made again")
    authors: tuple[str, ...] = Field(min_length=1, description="who publishes it: people or institutions, as they are cited")
    doi: str | None = Field(None, pattern=r"^10\.\d{4,9}/\S+$", description="where one was reserved")
    url: str | None = Field(None, pattern=r"^https?://", description="page of the dataset")
    web_seeds: tuple[str, ...] = Field((), description="URLs of folders that hold a copy of the folder `name`, for the torrent (BEP 19)")
    despite_audit: str | None = Field(
        None, min_length=10, description="why to release although a privacy audit has not passed; none: do not"
    )
