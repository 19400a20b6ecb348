"""HTML pages: their text, and each picture, volume and program inside them, decoded to its last byte."""

import base64
import binascii
import re
from importlib.resources import files

from brainldm.formats.leaks.compressed import gzip_pieces, nifti_pieces, png_pieces
from brainldm.formats.leaks.pieces import Array, Fault, Pieces, Text
from brainldm.formats.leaks.texts import columns_of, decode, json_pieces, text_pieces

_ENCODED = re.compile(r"[A-Za-z0-9+/]{100,}={0,2}")  # shorter ones stay in the text, which is searched for encoded names too
_DATA = re.compile(r'<script[^>]*type="application/json"[^>]*>(.*?)</script>', re.S)
_SHORTEST = 10  # letters and digits of an id in bytes that are compressed
_PNG, _GZIP = b"\x89PNG", b"\x1f\x8b"


def page_pieces(content: bytes) -> Pieces:
    """Yield the text of a page without its encoded data, its data blocks, and the pieces of everything that is encoded in base64."""
    text = decode(content)
    for number, found in enumerate(_ENCODED.finditer(text), 1):
        place = f"encoded data {number}"
        for piece in _encoded(found[0]):
            yield piece._replace(place=f"{place}, {piece.place}" if piece.place else place)
    plain = _ENCODED.sub(" ", text)
    for block in _DATA.findall(plain):
        yield from json_pieces(block.encode())
    yield Text("text", plain)
    yield from columns_of(plain)


def _encoded(run: str) -> Pieces:
    """Yield the pieces of one run of base64; data of a kind that no page of ours holds is a fault."""
    try:
        content = base64.b64decode(run, validate=True)
    except binascii.Error as error:
        yield Fault("", f"base64 that does not decode ({error})")
        yield Text("", run)
        return
    if base64.b64encode(content).decode() != run:
        yield Fault("", "base64 with bits behind its end")
    if content == (files("brainldm.formats") / "page" / "niivue.umd.js.gz").read_bytes():
        return  # the viewer that the package carries
    yield Array("compressed bytes", content, _SHORTEST)
    if content.startswith(_PNG):
        yield from png_pieces(content)
    elif content.startswith(_GZIP):
        inside: list[bytes] = []
        yield from gzip_pieces(content, inside)
        joined = b"".join(inside)
        yield from nifti_pieces(joined) if joined[344:348] == b"n+1\0" else text_pieces(joined)
    else:
        yield Fault("", "encoded data that is neither a picture nor a volume")
