"""Look at a volume: three planes as a PNG, with labels in colours over it, shown in terminals that can."""

import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from brainldm.core import outputs
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.files import writing
from brainldm.core.rows import shard_rows
from brainldm.formats.nifti import decode_synthetic, write_bytes
from brainldm.formats.released_values import MOST_VOLUME
from brainldm.formats.scan import Scan, read_scan
from brainldm.formats.shards import read_manifest, read_member
from brainldm.formats.three_planes import escapes, picture, png

MOST_BYTES = 128 << 20  # of a volume, unpacked


def main(
    what: Annotated[str, typer.Argument(metavar="PATH|ROW", help="scan (.nii, .nii.gz, .mgz), or the index of a row below --results")],
    overlay: Annotated[Path | None, typer.Option(help="label map on the same voxels")] = None,
    at: Annotated[str | None, typer.Option(help="X,Y,Z in mm (right, anterior, superior); the middle by default")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="PNG to write; by default named after the volume, here")] = None,
    results: Annotated[Path, typer.Option(help="folder of results, for ROW")] = Path("results"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """Axial, coronal, sagittal; left is the subject's left."""
    path = Path(what)
    is_row = what.isdecimal() and not path.exists()
    scan = _row(int(what), results) if is_row else read_scan(path, MOST_BYTES)
    content = png(picture(scan, _point(at), read_scan(overlay, MOST_BYTES) if overlay else None))
    made = out or Path(f"{f'row{what}' if is_row else path.name.partition('.')[0]}.png")
    inputs = [file for file in (None if is_row else path, overlay) if file]
    made = outputs.check_file(made, overwrite, inputs, content)
    with writing(made):
        write_bytes(made, content)
    logging.info("%s", made)
    if sys.stdout.isatty():
        sys.stdout.writelines(escapes(content))


def _point(text: str | None) -> tuple[float, float, float] | None:
    if text is None:
        return None
    try:
        x, y, z = map(float, text.split(","))
    except ValueError:
        raise ConfigError(f"--at: expected X,Y,Z in mm such as 9,-19,17, found {text!r}") from None
    return x, y, z


def _row(index: int, results: Path) -> Scan:
    """A synthetic volume out of its shard's tar."""
    manifests = list((results / "generate").glob("*-*.json"))
    holding = [path for path in manifests if index in shard_rows(path.stem)]  # several where one is left of an earlier run
    path = max(holding, key=lambda path: path.stat().st_mtime_ns, default=None)
    if path is None:
        raise DataError(f"{results / 'generate'}: expected a shard with row {index}, found {len(manifests)} shards without it")
    row = next(row for row in read_manifest(path)["rows"] if row["index"] == index)
    name = f"{path.with_suffix('.tar')}: row {index}"
    return Scan(*decode_synthetic(read_member(path, row), name, MOST_VOLUME))
