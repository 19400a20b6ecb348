"""What a page of the report carries besides its text: every picture, volume and block of data, decoded."""

import base64
import gzip
import io
import json
import re
from collections.abc import Iterator

import matplotlib.image
import nibabel as nib
import numpy as np

PICTURE = re.compile(r"data:image/png;base64,([A-Za-z0-9+/=]+)")
BLOCK = re.compile(r'<script id="([\w-]+)" type="[\w/]+">(.*?)</script>', re.S)


def pictures(text: str) -> Iterator[np.ndarray]:
    """Yield the pictures [rows, columns, 3] in [0, 1]."""
    for encoded in PICTURE.findall(text):
        yield matplotlib.image.imread(io.BytesIO(base64.b64decode(encoded)))[..., :3]


def blocks(text: str) -> dict[str, str]:
    """Return the contents of the script elements by id."""
    return dict(BLOCK.findall(text))


def volumes(text: str) -> Iterator[tuple[nib.Nifti1Image, np.ndarray]]:
    """Yield the viewer's files and their frames [T,I,J,K]; label maps are left out."""
    for item in json.loads(blocks(text)["viewer-data"])["items"]:
        content = gzip.decompress(base64.b64decode(item["image"]))
        image = nib.Nifti1Image.from_bytes(content)
        array = np.asarray(image.dataobj)
        yield image, np.moveaxis(array.reshape(*array.shape[:3], -1), -1, 0)


def texts(text: str) -> Iterator[str]:
    """Yield all text: the page without encoded data, its data block, the viewer's code, and what is text in volumes and pictures."""
    found = blocks(text)
    yield re.sub(r"base64,[A-Za-z0-9+/=]+", "", BLOCK.sub("", text))
    data = json.loads(found["viewer-data"])
    for item in data["items"]:
        for name in ("image", "labels"):
            yield gzip.decompress(base64.b64decode(item.pop(name)))[:352].decode("latin-1")
    yield json.dumps(data)
    yield gzip.decompress(base64.b64decode(found["viewer-code"])).decode("utf-8")
    yield found["viewer-start"]
    for encoded in PICTURE.findall(text):
        content = base64.b64decode(encoded)
        yield content[: content.index(b"IDAT")].decode("latin-1")
        yield content[-16:].decode("latin-1")
