"""BIDS datasets for the tests of `manifest bids`: files with a content of their own, and the command in this process."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from brainldm.__main__ import application
from brainldm.core.errors import BrainLDMError
from brainldm.formats.manifest import Entry, read_manifest


def touch(folder: Path, *names: str) -> None:
    """Files whose content is their name."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(f"scan {name}".encode())


def write(folder: Path, **texts: str) -> None:
    """Text files; __ in a name is a dot."""
    for name, text in texts.items():
        (folder / name.replace("__", ".")).write_text(text)


def manifest(*words: object) -> tuple[dict[str, Entry], dict[str, Any], str]:
    """Scans by name, the record, and what was said; our errors rise as they are."""
    result = CliRunner().invoke(application("manifest"), ["manifest", *map(str, words)])
    if isinstance(result.exception, BrainLDMError):
        raise result.exception
    assert result.exit_code == 0, result.output
    out = Path(str(words[words.index("--out") + 1]))
    return {entry.name: entry for entry in read_manifest(out)}, json.loads(out.with_suffix(".json").read_text()), result.output
