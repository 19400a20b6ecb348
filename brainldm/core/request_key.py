"""The secret key from which the random numbers of the requests come; whoever has it can make the same requests again, nobody else can.

It is never published. A file of it holds 64 hexadecimal digits and is readable by its owner alone.
"""

import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
from pathlib import Path

import numpy as np

from brainldm.core.errors import DataError
from brainldm.core.files import writing

PLACE = "private/request.key"  # of a project that names no other
DEMO_KEY = hashlib.sha256(b"brainldm: the embedded demo population, behind which nobody stands").digest()
DEMO = "demo"  # in place of a path
_PURPOSE = b"request"


def create(path: Path) -> None:
    """Write a new key that only its owner can read; a key that is there is kept."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        except FileExistsError:
            read(path)
            return
        with os.fdopen(descriptor, "w") as handle:
            handle.write(secrets.token_hex(32) + "\n")
            handle.flush()
            os.fsync(handle.fileno())


def read(path: Path) -> bytes:
    """Return the 32 bytes of a key; DataError if the file holds no key. Says so if others may read it."""
    try:
        text = path.read_text(encoding="ascii").strip()
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"Cannot read the request key {path} ({error}). Name the key of this dataset as request.key.") from None
    if not re.fullmatch(r"[0-9a-f]{64}", text):
        raise DataError(f"{path} holds no request key: a key is a line of 64 hexadecimal digits. Name the right file as request.key.")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        logging.warning("%s: others than its owner may read this secret key. Run: chmod 600 %s", path, path)
    return bytes.fromhex(text)


def row_generator(key: bytes, seed: int, index: int) -> np.random.Generator:
    """Return the generator of row `index` of the dataset with this seed: unpredictable without the key (HMAC-SHA-256, RFC 2104)."""
    digest = hmac.digest(key, _PURPOSE + f":{seed}:{index}".encode(), "sha256")
    return np.random.default_rng(int.from_bytes(digest))
