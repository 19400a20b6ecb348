"""Other spellings of a text: what base64, hexadecimal, percent signs, HTML entities, escapes and UTF-16 hide."""

import base64
import binascii
import html
import re
import unicodedata
import zlib
from collections.abc import Iterator
from urllib.parse import unquote

import numpy as np

DEPTH = 3  # spellings inside spellings
LARGE = 1 << 20  # characters of a text that is decoded once only
MOST_INFLATED = 1 << 26  # bytes
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{6,}={0,2}")
_PACKED = re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{200,}={0,2}")
_BASE64_LINES = re.compile(r"(?<![A-Za-z0-9+/_-])(?:[A-Za-z0-9+/_-]{16,}\r?\n)+[A-Za-z0-9+/_-]+={0,2}")
_BASE32 = re.compile(r"(?<![A-Za-z0-9])[A-Z2-7]{8,}={0,6}(?![A-Za-z0-9])")
_HEX = re.compile(r"(?<![0-9A-Za-z])(?:0x)?((?:[0-9a-fA-F]{2}){4,})(?![0-9A-Za-z])")
_HEX_APART = re.compile(r"(?<![0-9A-Za-z])(?:(?:0x|\\x)?[0-9a-fA-F]{2}(?:, ?|[ :-])){3,}(?:0x)?[0-9a-fA-F]{2}(?![0-9A-Za-z])")
_CODES = re.compile(r"(?<![\d.])(?:\d{1,3}(?:[,;]\s{0,9}|[ \t]{1,3})){3,}\d{1,3}(?![\d.])")
_ESCAPE = re.compile(r"\\(?:u\{?([0-9a-fA-F]{4,6})\}?|U([0-9a-fA-F]{8})|x([0-9a-fA-F]{2})|([0-3][0-7]{2}))")
_TAG = re.compile(r"<[^<>]{1,400}>")
_BITS = re.compile(r"(?<!\d)(?:[01]{8}[ ,]?){4,}(?!\d)")
_QUOTED = re.compile(r"(?:=[0-9A-F]{2})+")
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:([,'\u2019\u202f\u00a0 ])\d{3})(?:\1\d{3})*(?![\d,])")
_PRINTABLE = bytes(int(32 <= code < 127) for code in range(256))
_NARROW = bytes(int(code >= 32 and code != 127) for code in range(256))
_NO_CONTROLS = bytes(code for code in range(256) if (code >= 32 and code != 127) or code in (9, 10, 13))
_TEXT_BYTES = bytes(code for code in range(256) if 32 <= code < 127 or code in (9, 10, 13))


def spellings(text: str) -> Iterator[str | bytes]:
    """Yield `text` and what it says when it is decoded, up to DEPTH times; bytes where the decoded is no text."""
    packed = [_unpacked(run) for run in _PACKED.findall(text)]
    yield from (blob for blob in packed if isinstance(blob, bytes))
    layer = [_PACKED.sub("#", text) if packed else text]  # of random characters chance would make short ids
    layer += [blob for blob in packed if isinstance(blob, str)]
    seen = set(layer)
    yield from layer
    for depth in range(DEPTH):
        below: list[str] = []
        for one in layer:
            if depth and len(one) > LARGE:
                continue
            for found in _decoded(one):
                if isinstance(found, bytes):
                    yield found
                elif found not in seen:
                    seen.add(found)
                    yield found
                    below.append(found)
            plain = _without_marks(one)
            if plain not in seen:
                seen.add(plain)
                yield plain
        layer = below


def _unpacked(run: str) -> str | bytes:
    """Return what a long run of base64 holds: text if it is text."""
    code = _unbase64(run)
    code = _inflated(code) or code
    return as_text(code) or code


def _decoded(text: str) -> Iterator[str | bytes]:
    """Yield a text with every escape in it decoded once, then what codes of bytes in it hold."""
    decoded = text
    if not text.isascii():
        composed = _ascii_digits(unicodedata.normalize("NFKC", text))
        decoded = "".join(character for character in composed if unicodedata.category(character) != "Cf")
    if "&" in decoded:
        decoded = html.unescape(decoded)
    if "%" in decoded:
        decoded = unquote(decoded, errors="replace")
    if "\\" in decoded:
        decoded = _ESCAPE.sub(_character, decoded)
    if "=" in decoded:
        decoded = _QUOTED.sub(_unquoted, decoded)
    yield decoded
    blobs = list(_blobs(text))
    yield from (blob for blob in blobs if isinstance(blob, bytes))
    if texts := [blob for blob in blobs if isinstance(blob, str)]:
        yield "\n".join(texts)


def _without_marks(text: str) -> str:
    """Return a text without NUL characters, without tags, and without the marks between thousands."""
    plain = text.replace("\0", "")
    if "<" in plain:
        plain = _TAG.sub("", plain)
    return _THOUSANDS.sub(_joined, plain)


def _blobs(text: str) -> Iterator[str | bytes]:
    """Yield what codes of bytes in a text decode to: text where it is text, bytes of at least 16 otherwise."""
    codes = [binascii.unhexlify(found[1]) for found in _HEX.finditer(text)]
    codes += [_unhex(found[0]) for found in _HEX_APART.finditer(text)]
    codes += [_unbase64(part) for found in _BASE64.finditer(text) for part in _with_parts(found[0])]
    codes += [_unbase64(re.sub(r"\s", "", found[0])) for found in _BASE64_LINES.finditer(text)]
    codes += [_unbase32(found[0]) for found in _BASE32.finditer(text)]
    codes += [_from_codes(found[0]) for found in _CODES.finditer(text)]
    codes += [_from_bits(found[0]) for found in _BITS.finditer(text)]
    codes += [inside for code in codes if (inside := _inflated(code))]
    for code in codes:
        if len(code) >= 4:
            found = as_text(code)
            if found:
                yield found
            elif len(code) >= 16:
                yield code


def as_text(content: bytes) -> str:
    """Return bytes as text if they are text in UTF-8, UTF-16 or UTF-32, else nothing."""
    zeros = content.count(0)
    if zeros:
        packed = _narrowed(content) if zeros * 3 >= len(content) else b""
        return packed.decode("ascii") if len(packed) >= 4 and not packed.translate(None, _TEXT_BYTES) else ""
    if content.translate(None, _NO_CONTROLS):
        return ""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _narrowed(content: bytes) -> bytes:
    """Return the characters of UTF-16 or UTF-32, if the other bytes are all zero, else nothing."""
    for width in (4, 2):
        for start in (0, width - 1):
            others = [content[place::width] for place in range(width) if place != start]
            if not any(other.strip(b"\0") for other in others):
                return content[start::width]
    return b""


def runs(content: bytes, shortest: int, widths: tuple[int, ...] = (2, 4), ascii_only: bool = False) -> str:
    """Return the runs of at least `shortest` characters in bytes, a run a line; `widths` are of UTF-16 and UTF-32."""
    found = list(_runs(content, content.translate(_PRINTABLE if ascii_only else _NARROW), shortest))
    if b"\0" in content:
        codes = np.frombuffer(content, np.uint8)
        for width in widths:
            for start in range(width):
                found += _wide_runs(codes, start, width, shortest)
    return "\n".join(run.decode("utf-8", "replace") for run in found)


def _wide_runs(codes: np.ndarray, start: int, width: int, shortest: int) -> Iterator[bytes]:
    """Yield runs of characters of `width` bytes, the others of which are zero, whichever comes first."""
    characters = codes[start::width]
    length = len(codes[start + width - 1 :: width])
    narrow = np.ones(length, bool)
    for other in range(1, width):
        narrow &= codes[start + other :: width][:length] == 0
    if np.count_nonzero(narrow) < shortest - 1:
        return
    packed = np.ascontiguousarray(characters).tobytes()
    mask = np.frombuffer(packed[:length].translate(_PRINTABLE), np.uint8) & narrow
    for run, end in _places(mask.tobytes(), max(shortest - 1, 1)):
        yield packed[run : end + int(packed[end : end + 1].isalnum())]


def _runs(content: bytes, mask: bytes, shortest: int) -> Iterator[bytes]:
    """Yield the parts of `content` where `mask` is 1 at least `shortest` times in a row."""
    for start, end in _places(mask, shortest):
        yield content[start:end]


def _places(mask: bytes, shortest: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the runs of at least `shortest` ones."""
    wanted = b"\1" * shortest
    start = mask.find(wanted)
    while start >= 0:
        end = mask.find(b"\0", start)
        end = len(mask) if end < 0 else end
        yield start, end
        start = mask.find(wanted, end)


def _ascii_digits(text: str) -> str:
    return "".join(str(unicodedata.digit(one)) if not one.isascii() and one.isdecimal() else one for one in text)


def _character(found: re.Match[str]) -> str:
    code = int(found[4], 8) if found[4] else int(next(filter(None, found.groups())), 16)
    return chr(code) if code < 0x110000 else ""


def _unquoted(found: re.Match[str]) -> str:
    return bytes.fromhex(found[0].replace("=", "")).decode("utf-8", "replace")


def _joined(found: re.Match[str]) -> str:
    return found[0].replace(found[1], "")


def _with_parts(found: str) -> list[str]:
    """Return a run of base64's characters, and its parts if its slashes may be those of a path."""
    parts = [found, *found.split("/")] if "/" in found else [found]
    return [part for part in parts if len(part) >= 8]


def _unhex(text: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|\\x|[^0-9a-fA-F]", "", text))


def _unbase64(text: str) -> bytes:
    plain = text.rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    return base64.b64decode(plain + "=" * (-len(plain) % 4))


def _unbase32(text: str) -> bytes:
    plain = text.rstrip("=")
    try:
        return base64.b32decode(plain + "=" * (-len(plain) % 8))
    except binascii.Error:
        return b""


def _from_bits(text: str) -> bytes:
    bits = re.sub(r"[ ,]", "", text)
    return int(bits, 2).to_bytes(len(bits) // 8)


def _inflated(code: bytes) -> bytes:
    """Return what a code holds if it is gzip or zlib data, up to MOST_INFLATED bytes."""
    if code[:2] not in (b"\x1f\x8b", b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda"):
        return b""
    try:
        return zlib.decompressobj(47).decompress(code, MOST_INFLATED)
    except zlib.error:
        return b""


def _from_codes(text: str) -> bytes:
    numbers = [int(number) for number in re.findall(r"\d+", text)]
    return bytes(numbers) if max(numbers) < 256 else b""
