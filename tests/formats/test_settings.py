"""The configuration file: whatever is wrong with it is one error that names it."""

from pathlib import Path

import pytest

from brainldm.core.errors import ConfigError
from brainldm.formats.settings import read_config

ROOT = Path(__file__).parents[2]


def test_shipped_configurations_are_read() -> None:
    for path in (ROOT / "config.yaml", *(ROOT / "workflow/presets").glob("*.yaml")):
        assert read_config(path).train_diffusion.timesteps == 1000


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "found none"), (b"a: [1", "does not parse"), (b"- 1", "found list"), (b"\xff\xfe\x00", "does not parse"), (b"seed: x", "seed")],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "mine.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"(?s)mine\.yaml.*{words}"):
        read_config(path)
