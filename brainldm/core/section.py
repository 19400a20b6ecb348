"""What every section of the configuration is, and the paths that users write in them."""

import os
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

LabPath = Annotated[str, AfterValidator(os.path.expanduser)]


class Section(BaseModel):
    """A part of the configuration; frozen, no unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")
