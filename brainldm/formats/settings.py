"""The configuration as a YAML file, read as a whole."""

from pathlib import Path
from typing import Any

from brainldm.core.config import Config, parse
from brainldm.core.errors import ConfigError
from brainldm.core.yaml_file import read_yaml


def read_config(path: Path) -> Config:
    """Read and check a configuration; ConfigError, naming the file, for every fault."""
    return parse(read_values(path), str(path))


def read_values(path: Path) -> dict[str, Any]:
    """Return the values that a configuration file gives, unchecked; ConfigError if it is no YAML file of sections with keys."""
    if not path.exists():
        raise ConfigError(f"{path}: expected a configuration, found none")
    values = read_yaml(path)
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections with keys, found {type(values).__name__}")
    return values
