"""What every section of the configuration is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the configuration; frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
