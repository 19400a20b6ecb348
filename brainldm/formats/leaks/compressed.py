"""Gzip files, NIfTI volumes and PNG pictures, decoded to their last byte."""

import math
import struct
import zlib
from collections.abc import Generator

import numpy as np
from isal import isal_zlib

from brainldm.formats.leaks.pieces import Array, Fault, Field, Piece, Pieces, Text, Unreadable, rest
from brainldm.formats.leaks.tensors import likely

MOST_BYTES = 4 << 30  # of what is decompressed in memory
_STEP = 1 << 20
_NIFTI_1 = 348
_TYPE_BITS = {2: 8, 4: 16, 8: 32, 16: 32, 32: 64, 64: 64, 128: 24, 256: 8, 512: 16, 768: 32, 1024: 64, 1280: 64, 1536: 128}
_TYPE_BITS |= {1792: 128, 2048: 256, 2304: 32}
_HEADER_TEXTS = {"data_type": (4, 10), "db_name": (14, 18), "descrip": (148, 80), "aux_file": (228, 24), "intent_name": (328, 16)}
_HEADER_NUMBERS = {
    **{"extents": (32, "i"), "session_error": (36, "h"), "dim": (40, "8h"), "intent_p": (56, "3f"), "intent_code": (68, "h")},
    **{"slice_start": (74, "h"), "pixdim": (76, "8f"), "scl_slope": (112, "2f"), "slice_end": (120, "h"), "cal": (124, "2f")},
    **{"slice_duration": (132, "2f"), "glmax": (140, "2i"), "quatern": (256, "6f"), "srow": (280, "12f")},
}
_NUMBERS_AS_WRITTEN = {8: "i4", 16: "f4", 64: "f8", 768: "u4"}  # types that hold an id or a covariate, and no volume of ours
_FEW = 64  # columns of a table in voxels
_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_NUMBERS = {b"IHDR", b"PLTE", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"sBIT", b"bKGD", b"hIST", b"tIME"}
_PNG_WIDE = {b"gAMA", b"cHRM", b"pHYs"}  # of numbers of 32 bits
_PNG_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"sPLT"}
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def gzip_pieces(content: bytes, inside: list[bytes], most: int = MOST_BYTES) -> Pieces:
    """Yield the header fields of every member of a gzip file and what follows the last; append the members' bytes to `inside`."""
    place, number, left = 0, 0, most
    while content[place : place + 2] == b"\x1f\x8b":
        number += 1
        place = yield from _gzip_header(content, place, f"gzip member {number}")
        decoder = isal_zlib.decompressobj(wbits=-15)
        view = memoryview(content)[place:]
        checksum, size = 0, 0
        waiting: bytes | memoryview = view
        while not decoder.eof:
            try:
                block = decoder.decompress(waiting, max_length=_STEP)
            except isal_zlib.error as error:  # type: ignore[misc]
                raise Unreadable(f"gzip data that cannot be decompressed ({error})") from None
            waiting = decoder.unconsumed_tail
            if not block and not waiting and not decoder.eof:
                raise Unreadable("gzip data that ends in the middle")
            inside.append(block)
            checksum, size = isal_zlib.crc32(block, checksum), size + len(block)
            left -= len(block)
            if left < 0:
                raise Unreadable(f"gzip data of more than {most} bytes")
        place = len(content) - len(decoder.unused_data)
        if content[place : place + 8] != struct.pack("<2I", checksum, size & 0xFFFFFFFF):
            raise Unreadable("gzip data whose checksum or length is wrong")
        place += 8
    if not number:
        raise Unreadable("no gzip data")
    yield from rest("behind the gzip data", content[place:], "behind the gzip data")


def _gzip_header(content: bytes, start: int, place: str) -> Generator[Piece, None, int]:
    """Yield the fields of a member's header; returns where its data begins."""
    if len(content) < start + 18:
        raise Unreadable("a gzip header that ends in the middle")
    method, flags, seconds = struct.unpack_from("<BBI", content, start + 2)
    if method != 8 or flags & 0xE0:
        raise Unreadable("gzip data in a form that is not known")
    yield Text(f"{place}, time", str(seconds))
    here = start + 10
    if flags & 4:
        (length,) = struct.unpack_from("<H", content, here)
        yield Field(f"{place}, extra field", content[here + 2 : here + 2 + length])
        here += 2 + length
    for flag, name in ((8, "name"), (16, "comment")):
        if flags & flag:
            end = content.find(b"\0", here)
            if end < 0:
                raise Unreadable("a gzip header that ends in the middle")
            yield Field(f"{place}, {name}", content[here:end])
            here = end + 1
    return here + (2 if flags & 2 else 0)


def volume_pieces(content: bytes) -> Pieces:
    """Yield the pieces of a .nii.gz: gzip fields, then those of the volume."""
    inside: list[bytes] = []
    yield from gzip_pieces(content, inside)
    yield from nifti_pieces(b"".join(inside))


def nifti_pieces(content: bytes) -> Pieces:
    """Yield header fields, extensions, voxels and what follows them of a NIfTI-1 volume in one file."""
    if len(content) < _NIFTI_1 + 4 or content[344:348] != b"n+1\0":
        raise Unreadable("no NIfTI-1 volume in one file")
    order = "<" if content[:4] == struct.pack("<i", _NIFTI_1) else ">"
    (size,) = struct.unpack_from(f"{order}i", content)
    dimensions = struct.unpack_from(f"{order}8h", content, 40)
    data_type, bits = struct.unpack_from(f"{order}2h", content, 70)
    (offset,) = struct.unpack_from(f"{order}f", content, 108)
    if size != _NIFTI_1 or not 1 <= dimensions[0] <= 7 or min(dimensions[1 : dimensions[0] + 1]) < 1:
        raise Unreadable("a NIfTI header without dimensions")
    if _TYPE_BITS.get(data_type) != bits or not math.isfinite(offset) or offset != int(offset) or offset < _NIFTI_1:
        raise Unreadable("a NIfTI header of an unknown type or with voxels inside the header")
    for name, (start, length) in _HEADER_TEXTS.items():
        yield Field(f"header, {name}", content[start : start + length])
    numbers = {name: struct.unpack_from(f"{order}{kind}", content, start) for name, (start, kind) in _HEADER_NUMBERS.items()}
    yield Text("header, numbers", "\n".join(f"{name}: {' '.join(map(_shown, found))}" for name, found in numbers.items()))
    yield Field("header", content[:_NIFTI_1])
    start = int(offset)
    end = start + math.prod(dimensions[1 : dimensions[0] + 1]) * bits // 8
    yield from _extensions(content[_NIFTI_1:start], order)
    if len(content) < end:
        raise Unreadable(f"a NIfTI header that promises {end} bytes in a file of {len(content)}")
    yield Array("voxels", content[start:end])
    if data_type in _NUMBERS_AS_WRITTEN:
        voxels = np.frombuffer(content[start:end], order + _NUMBERS_AS_WRITTEN[data_type])
        yield from likely("voxels", voxels)
        if len(voxels) and 1 < (columns := len(voxels) // dimensions[1]) <= _FEW:
            yield from likely("voxels, by columns", voxels.reshape(columns, dimensions[1]).T.reshape(-1))
    if len(content) > end:
        yield Fault("behind the voxels", f"{len(content) - end} bytes behind the voxels")
        yield Field("behind the voxels", content[end:])


def _shown(value: float) -> str:
    """Return a number of a header with the fewest digits that give it."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else str(np.float32(value))


def _extensions(content: bytes, order: str) -> Pieces:
    """Yield the extensions between header and voxels, and what else stands there."""
    here = 4
    if content[:1] not in (b"", b"\0"):
        while len(content) - here >= 16:
            size, code = struct.unpack_from(f"{order}2i", content, here)
            if size < 16 or size % 16 or here + size > len(content):
                break
            yield Field(f"extension, code {code}", content[here + 8 : here + size])
            here += size
    yield Field("behind the header", content[:4])
    yield from rest("behind the header", content[here:], "between header and voxels that are no extension")


def png_pieces(content: bytes) -> Pieces:
    """Yield the chunks of a PNG and what follows its end."""
    if content[:8] != _PNG:
        raise Unreadable("no PNG")
    here, kind, data = 8, b"", []
    shape = (0, 0, 8, 0, 0, 0, 0)
    while kind != b"IEND":
        if len(content) < here + 12:
            raise Unreadable("a PNG that ends in the middle")
        length, kind = struct.unpack_from(">I4s", content, here)
        chunk = content[here + 8 : here + 8 + length]
        if len(chunk) < length or content[here + 8 + length : here + 12 + length] != struct.pack(">I", zlib.crc32(kind + chunk)):
            raise Unreadable("a PNG with a chunk that is damaged")
        here += 12 + length
        if kind == b"IHDR" and length == 13:
            shape = struct.unpack(">2I5B", chunk)
        if kind == b"IDAT":
            data.append(chunk)
        else:
            yield from _chunk(kind.decode("latin-1"), kind, chunk)
    yield from rest("behind the PNG's end", content[here:], "behind the PNG's end")
    pixels, behind = _inflated(b"".join(data), "the PNG's pixels")
    yield from rest("behind the PNG's pixels", behind, "behind the PNG's pixels")
    width, height, depth, colour, _, _, interlaced = shape
    expected = height * (1 + (width * depth * _CHANNELS.get(colour, 0) + 7) // 8)
    if interlaced or len(pixels) != expected:
        raise Unreadable(f"a PNG whose pixels are {len(pixels)} bytes and not {expected} (interlaced ones are not read)")
    yield Array("pixels", pixels)


def _chunk(name: str, kind: bytes, chunk: bytes) -> Pieces:
    """Yield what stands in a chunk that holds no pixels."""
    yield Field(f"PNG chunk {name}", chunk)
    if kind in _PNG_WIDE:
        whole = len(chunk) // 4
        yield Text(f"PNG chunk {name}", "\n".join(map(str, struct.unpack_from(f">{whole}I", chunk))))
    if kind not in _PNG_NUMBERS | _PNG_TEXTS | {b"IEND"}:
        yield Fault(f"PNG chunk {name}", "a chunk of a kind that is not known")
    if kind in (b"zTXt", b"iCCP", b"iTXt"):
        start = chunk.find(b"\0") + 2
        if kind == b"iTXt":
            compressed = chunk[start - 1 : start] == b"\1"
            start = chunk.find(b"\0", chunk.find(b"\0", start + 1) + 1) + 1
            if not compressed:
                return
        text, behind = _inflated(chunk[start:], f"PNG chunk {name}")
        yield Field(f"PNG chunk {name}", text)
        yield from rest(f"PNG chunk {name}", behind, "behind the compressed text")


def _inflated(content: bytes, what: str) -> tuple[bytes, bytes]:
    """Return what a zlib stream holds, and the bytes behind it."""
    decoder = zlib.decompressobj()
    try:
        found = decoder.decompress(content, 1 << 28)
    except zlib.error as error:
        raise Unreadable(f"{what}: compressed data that is damaged ({error})") from None
    if not decoder.eof:
        raise Unreadable(f"{what}: compressed data that ends in the middle, or holds more than 256 MB")
    return found, decoder.unused_data
