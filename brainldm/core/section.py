"""What every section of the configuration is, and the paths that users write in them."""

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict


def _lab_path(path: str) -> str:
    if set("{}") & set(path):
        raise ValueError("a path must have no { or }, which Snakemake takes for its wildcards; rename it or link to it")
    return os.path.expanduser(path)


LabPath = Annotated[str, AfterValidator(_lab_path)]


class Section(BaseModel):
    """A part of the configuration; frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
