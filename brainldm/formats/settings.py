"""The configuration as a YAML file, read as a whole."""

from pathlib import Path

import yaml

from brainldm.core.config import Config, parse
from brainldm.core.errors import ConfigError


def read_config(path: Path) -> Config:
    """Read and check a configuration; ConfigError, naming the file, for every fault."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: expected a configuration, found none ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected YAML, found text that does not parse ({' '.join(str(error).split())})") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected sections with keys, found {type(values).__name__}")
    return parse(values, str(path))
