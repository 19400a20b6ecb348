"""The demo's configuration, with edits."""

import copy
from pathlib import Path
from typing import Any

import yaml

DEMO = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


def edited(**changes: Any) -> dict[str, Any]:
    """The demo's values with others at `section__key`."""
    values = copy.deepcopy(DEMO)
    for dotted, value in changes.items():
        *sections, last = dotted.split("__")
        place = values
        for name in sections:
            place = place[name]
        place[last] = value
    return values
