"""Fetch weights of others where there is internet (a login node); what arrives must have the hash that is known for it."""

import hashlib
import logging
from pathlib import Path
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit

import typer

from brainldm.core import outputs
from brainldm.core.errors import DataError, OutputError
from brainldm.core.files import writing
from brainldm.core.project import WORKFLOW
from brainldm.formats.places import download, is_remote
from brainldm.formats.tables import read_tsv

TABLE = WORKFLOW / "data_manifest/weights.tsv"
MD5 = "its publisher tells no SHA-256, only an MD5, which finds damage but no forgery"


class Weights(NamedTuple):
    """A file to fetch: its name here, where it lies, and its hash, `sha256:...` or `md5:...`."""

    name: str
    url: str
    digest: str


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="names from the table, or one URL; none: show the table")
    ] = None,
    to: Annotated[Path, typer.Option(help="folder to write to")] = Path("weights"),
    sha256: Annotated[str | None, typer.Option(help="hash that the one file must have: for a URL, or in place of the table's")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """A call that was interrupted goes on when it is repeated; a file appears under its name once it is whole and its hash is right."""
    for weights in wanted(names or [], sha256):
        path = to / weights.name
        if path.is_file() and not path.is_symlink() and not (overwrite and _has_other_content(path, weights)):
            check(path, weights, f"Cannot write {path}: there is another file. Move it, or add --overwrite to replace it; ")
            logging.info("%s: is there already, and whole", path)
            continue
        path = outputs.check_file(path, overwrite)
        if weights.digest.startswith("md5"):
            logging.warning("%s: %s", weights.name, MD5)
        part = path.with_name(f"{path.name}.part")  # grows from call to call
        if part.is_symlink() or (part.exists() and not part.is_file()):
            raise OutputError(f"Cannot write {part}: it is no regular file. Remove it, or name another folder.")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            download(weights.url, part)
        try:
            check(part, weights, f"{weights.url}: ")
        except DataError:
            part.unlink()
            raise
        part.replace(path)
        logging.info("%s: %d bytes, %s", path, path.stat().st_size, weights.digest)


def _has_other_content(path: Path, weights: Weights) -> bool:
    try:
        check(path, weights, "")
    except DataError:
        return True
    return False


def wanted(names: list[str], sha256: str | None) -> list[Weights]:
    """The files that are asked for; DataError for a name that the table does not have, or a URL without a hash."""
    rows = read_tsv(TABLE, Weights._fields).to_dict("records")
    table = {str(row["name"]): Weights(*(str(row[column]) for column in Weights._fields)) for row in rows}
    if not names:
        typer.echo(TABLE.read_text("utf-8"), nl=False)
    if sha256 and len(names) != 1:
        raise DataError(f"--sha256: expected one file that it is the hash of, found {len(names)}")
    return [_wanted(name, table, sha256) for name in names]


def _wanted(name: str, table: dict[str, Weights], sha256: str | None) -> Weights:
    if is_remote(name) and sha256 and (file := Path(urlsplit(name).path).name.lstrip(".")):
        return Weights(file, name, f"sha256:{sha256.lower()}")
    if is_remote(name):
        raise DataError(f"{name}: expected a file and --sha256 with its hash, which is not known here, found one of them")
    if name not in table:
        raise DataError(f"{name}: expected one of {', '.join(table)}, or a URL and --sha256, found neither")
    return table[name]._replace(digest=f"sha256:{sha256.lower()}") if sha256 else table[name]


def check(path: Path, weights: Weights, where: str) -> None:
    """DataError, which begins with `where`, if the file's hash is another one."""
    kind, _, digest = weights.digest.partition(":")
    with path.open("rb") as handle:
        found = hashlib.file_digest(handle, kind).hexdigest()
    if found != digest:
        raise DataError(f"{where}expected {weights.name} with {kind} {digest}, found {path.stat().st_size} bytes with {found}")
