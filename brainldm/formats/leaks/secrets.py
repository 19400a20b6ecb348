"""What must not be published: ids, paths and covariates of participants, the lab's keys, and names of this machine."""

import base64
import binascii
import getpass
import re
import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from brainldm.core.covariates import NAMES
from brainldm.core.errors import DataError
from brainldm.formats.leaks.ids import LONG_NUMBER

SHORTEST_KEY = 16  # bytes; a part of a key as long as this is a finding
_MEASURED = ("age_years", "ventricles_ml", "brain_ml")
_PATHS = ("t1w", "volume", "path")
_SUFFIXES = re.compile(r"(?:\.nii|\.mgz|\.mgh|\.gz|\.img|\.hdr|\.dcm)+$", re.IGNORECASE)


@dataclass(frozen=True)
class Secrets:
    """What is searched for."""

    ids: frozenset[str]
    people: pd.DataFrame  # of strings, with participant_id
    covariates: list[str]  # its numeric columns
    keys: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)  # name of the file, and a form of the key
    places: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


def read_secrets(covariates: Path, keys: Sequence[Path] = (), manifest: Path | None = None) -> Secrets:
    """Return what the tables, the key files and this machine have that nobody may publish; DataError if one cannot be read."""
    people = read_strings(covariates, ("participant_id",))
    tables = [people, read_strings(manifest, ("participant_id",))] if manifest else [people]
    ids: set[str] = set()
    folders = {Path.cwd(), Path.home(), covariates.resolve().parent}
    for table in tables:
        ids |= set(table["participant_id"]) - {""}
        for column in table.columns:
            if column not in ("participant_id", "split", "sex", *NAMES):
                ids |= identifying(table["participant_id"].tolist(), table[column].tolist(), column in _PATHS)
        folders |= {Path(path).parent for column in _PATHS if column in table for path in table[column] if path.startswith("/")}
    others = [name for name in people.columns if name not in _MEASURED and _is_measured(people[name])]
    numeric = [name for name in _MEASURED if name in people.columns] + others
    read = tuple((str(path), form) for path in keys for form in read_key(path))
    return Secrets(frozenset(ids), people, numeric, read, _places(folders), _hosts())


def read_strings(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Return a tab-separated table with every cell as it is written, missing ones empty; DataError if there is none."""
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False, encoding="utf-8")
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}. Name the table of the training scans.") from None
    except ValueError as error:
        raise DataError(f"Cannot read {path}: it is no tab-separated table ({error}). Name the table of the training scans.") from None
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise DataError(f"Cannot use {path}: it has no column {', '.join(missing)}. Name a table that has it.")
    if table.empty:
        raise DataError(f"Cannot use {path}: it has no rows, so nothing could be found. Name the table of the training scans.")
    return table.replace({"n/a": ""})


def identifying(participants: list[str], values: list[str], are_paths: bool) -> set[str]:
    """Return the values of a column that belong to one participant alone and are long enough to be found by; of paths, their parts."""
    owners: dict[str, set[str]] = {}
    for participant, value in zip(participants, values, strict=True):
        parts = {_SUFFIXES.sub("", part) for part in Path(value).parts if part not in ("/", "..")} if are_paths else {value}
        for part in parts:
            owners.setdefault(part, set()).add(participant)
    return {value for value, people in owners.items() if len(people) == 1 and _is_telling(value)}


def _is_telling(value: str) -> bool:
    """Return whether a value is long enough that it stands nowhere by chance, and no measurement."""
    if re.fullmatch(r"[-+]?\d+[.,]\d*(?:[eE][-+]?\d+)?", value):
        return False
    letters = re.sub(r"[\W_]", "", value)
    digits = sum(letter.isdigit() for letter in letters)
    return (digits >= 1 and len(letters) >= LONG_NUMBER and not (letters.isdigit() and len(letters.lstrip("0")) < LONG_NUMBER)) or (
        len(letters) >= 12 and " " not in value
    )


def _is_measured(cells: pd.Series) -> bool:
    """Return whether a column holds decimal numbers that differ from participant to participant."""
    filled = [cell for cell in cells if cell]
    decimals = [cell for cell in filled if re.fullmatch(r"-?\d+\.\d+", cell)]
    return len(decimals) * 2 > len(filled) and len(set(filled)) * 2 > len(filled)


def read_key(path: Path) -> list[bytes]:
    """Return a key file's bytes, and those that it spells in hexadecimal or base64 if it is a text."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read the key {path}: {error.strerror}. Name a file that exists and that you may read.") from None
    found = [content, content.strip()]
    text = content.strip().decode("latin-1")
    if re.fullmatch(r"(?:[0-9a-fA-F]{2})+", text):
        found.append(bytes.fromhex(text))
    if re.fullmatch(r"[A-Za-z0-9+/_-]+={0,2}", text):
        padded = text.rstrip("=").replace("-", "+").replace("_", "/")
        with suppress(binascii.Error):
            found.append(base64.b64decode(padded + "=" * (-len(padded) % 4)))
    keys = [key for key in dict.fromkeys(found) if len(key) >= SHORTEST_KEY]
    if not keys:
        raise DataError(f"Cannot use the key {path}: it has fewer than {SHORTEST_KEY} bytes. Name the file of the whole key.")
    return keys


def _places(folders: set[Path]) -> tuple[str, ...]:
    """Return the folders that name this machine or its user: below the root's own folders."""
    home = Path.home()
    named = {str(folder) for folder in folders if len(folder.parts) > 2}
    named |= {f"~/{folder.relative_to(home)}" for folder in folders if folder != home and folder.is_relative_to(home)}
    try:
        user = getpass.getuser()
    except (OSError, KeyError):
        user = ""
    if user and user != "root":
        named |= {f"/home/{user}", f"/Users/{user}", f"C:/Users/{user}"}
    return tuple(sorted(named))


def _hosts() -> tuple[str, ...]:
    """Return this machine's name where it is none that a word could be."""
    name = socket.gethostname()
    telling = len(name) >= 5 and re.search(r"[\d.-]", name) and not name.startswith(("localhost", "127."))
    return (name,) if telling else ()
