"""Make the secret key of the requests; a key that is there is kept."""

from pathlib import Path
from typing import Annotated

import typer

from brainldm.core import request_key


def main(out: Annotated[Path, typer.Option(help="file to write; only its owner can read it")]) -> None:
    """Keep the file, and never publish it: it makes the same requests again."""
    request_key.create(out)
