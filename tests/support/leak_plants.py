"""Places of a release in which a text can hide, and a lab's tables from which it may come; no torch, no images."""

import base64
import gzip
import html
import io
import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.numpy import save

from brainldm.core.grid import Grid
from brainldm.formats.nifti import encode_volume, quantise
from brainldm.formats.tars import write_tar
from brainldm.formats.torrent import bencode

GRID = Grid(shape=(8, 9, 8), spacing_mm=20.0, center_mm=(0, -17, 6))
Form = Callable[[Path, str], None]
NAME = "sub-000001/anat/sub-000001_T1w"


def people(ids: list[str], seed: int = 1) -> pd.DataFrame:
    """A table of training scans with these ids, as the stage `covariates` writes it."""
    random = np.random.default_rng(seed)
    n = len(ids)
    return pd.DataFrame(
        {
            "participant_id": ids,
            "sex": ["FM"[i % 2] for i in range(n)],
            "age_years": random.uniform(44, 82, n).round(1),
            "ventricles_ml": random.gamma(4, 8, n).round(4) + 6,
            "brain_ml": random.normal(1480, 80, n).round(4),
        }
    )


def synthetic(n: int = 4, seed: int = 2) -> pd.DataFrame:
    """The rows of a release that copies nobody."""
    table = people([f"sub-{i + 1:06d}" for i in range(n)], seed)
    return table.assign(index=range(n), n_bytes=[1000 + i for i in range(n)]).astype({"age_years": "float32", "brain_ml": "float32"})


def volume(descrip: str = "SYNTHETIC", **fields: bytes) -> bytes:
    """A NIfTI-1 file, not compressed; `fields` replace texts of its header."""
    content = bytearray(gzip.decompress(encode_volume(quantise(np.zeros(GRID.shape)), GRID, descrip)))
    for name, value in fields.items():
        start, length = {"data_type": (4, 10), "db_name": (14, 18), "aux_file": (228, 24), "intent_name": (328, 16)}[name]
        content[start : start + length] = value[:length].ljust(length, b"\0")
    return bytes(content)


def packed(content: bytes, flag: int = 0, header: bytes = b"") -> bytes:
    """A gzip member with a field of its header: flag 4 extra, 8 name, 16 comment."""
    deflate = zlib.compressobj(wbits=-15)
    data = deflate.compress(content) + deflate.flush()
    return b"\x1f\x8b\x08" + bytes([flag]) + bytes(6) + header + data + struct.pack("<2I", zlib.crc32(content), len(content))


def put(folder: Path, name: str, content: bytes | str) -> None:
    """Write a file of the release."""
    path = folder / name.lstrip("/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def nii(**parts: bytes) -> Callable[[bytes], bytes]:
    """A compressed volume with a text in a part of it."""
    return lambda text: packed(volume(**dict.fromkeys(parts, text)))


def extended(text: bytes) -> bytes:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", text))
    return gzip.compress(image.to_bytes(), mtime=0)


def before_voxels(text: bytes) -> bytes:
    content = bytearray(volume())
    padded = text.ljust(64, b"\0")
    content[108:112] = struct.pack("<f", 352 + len(padded))
    return packed(bytes(content[:352]) + padded + bytes(content[352:]))


def tar(members: list[tarfile.TarInfo], contents: list[bytes], kind: int = tarfile.USTAR_FORMAT, **options) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=kind, **options) as file:
        for member, content in zip(members, contents, strict=True):
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def member(name: str = f"{NAME}.json", **fields) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for key, value in fields.items():
        setattr(found, key, value)
    return found


def in_padding(text: str) -> bytes:
    content = bytearray(tar([member()], [b"{}"]))
    content[520 : 520 + len(text)] = text.encode()
    return bytes(content)


def parquet(folder: Path, table: pa.Table, **options) -> None:
    pq.write_table(table, folder / "covariates.parquet", **options)


def arrow(**columns) -> pa.Table:
    table = pa.Table.from_pandas(synthetic(), preserve_index=False)
    for name, values in columns.items():
        table = table.append_column(name, values if isinstance(values, pa.Array) else pa.array(values))
    return table


def picture(chunk: str = "", text: str = "", tail: bytes = b"") -> bytes:
    """A PNG with a text chunk of that kind, and bytes behind its end."""
    info, buffer = PngInfo(), io.BytesIO()
    if chunk in ("tEXt", "zTXt"):
        info.add_text("Comment", text, zip=chunk == "zTXt")
    elif chunk == "iTXt":
        info.add_itxt("Comment", text, zip=True)
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(buffer, "PNG", pnginfo=info)
    content, data = buffer.getvalue(), text.encode()
    if chunk not in ("", "tEXt", "zTXt", "iTXt"):
        kind = chunk.encode()
        made = struct.pack(">I4s", len(data), kind) + data + struct.pack(">I", zlib.crc32(kind + data))
        content = content[:-12] + made + content[-12:]
    return content + tail


def torrent(text: str = "", tail: bytes = b"", **more) -> bytes:
    info = {"files": [{"length": 5, "path": ["README.md"]}], "name": text or "tiny", "piece length": 16384, "pieces": bytes(range(20))}
    return bencode({"info": info, **more}) + tail


def tensors(metadata: dict[str, str] | None = None, tail: bytes = b"", **arrays: np.ndarray) -> bytes:
    return save({"latents": np.zeros((2, 3, 2, 2, 2), np.float16), **arrays}, metadata) + tail


def gap(folder: Path, text: str) -> None:
    """Bytes between the columns and the footer of a Parquet file, which no reader looks at."""
    buffer = io.BytesIO()
    pq.write_table(arrow(), buffer)
    content = buffer.getvalue()
    (length,) = struct.unpack("<I", content[-8:-4])
    start = len(content) - 8 - length
    put(folder, "covariates.parquet", content[:start] + text.encode() + content[start:])


def unused_dictionary(folder: Path, text: str) -> None:
    """A value that no row has, in the dictionary of a column."""
    values = pa.DictionaryArray.from_arrays(pa.array([0, 0, 0, 0]), pa.array(["a", text]))
    parquet(folder, arrow(note=values))


def _name(folder: Path, text: str) -> None:
    put(folder, f"{text}.txt", "")


FORMS: dict[str, Form] = {
    "name of a file": _name,
    "name of a folder": lambda folder, text: (folder / text.lstrip("/") / "anat").mkdir(parents=True),
    "README": lambda folder, text: put(folder, "README.md", f"# Brains\n\nas in {text}, who\n"),
    "licence": lambda folder, text: put(folder, "LICENSE", f"after {text}."),
    "bidsignore": lambda folder, text: put(folder, ".bidsignore", f"{text}\n"),
    "YAML comment": lambda folder, text: put(folder, "protocol.yaml", f"a: 1  # {text}\n"),
    "citation": lambda folder, text: put(folder, "CITATION.cff", f"authors:\n- name: {text}\n"),
    "checksums": lambda folder, text: put(folder, "checksums.sha256", f"{'ab' * 32}  {text}/a.json\n"),
    "HTML attribute": lambda folder, text: put(folder, "card.html", f'<p title="{html.escape(text)}">x</p>'),
    "UTF-16 text": lambda folder, text: put(folder, "notes.txt", f"see {text} now".encode("utf-16")),
    "JSON value": lambda folder, text: put(folder, "T1w.json", json.dumps({"a": [{"b": text}]})),
    "JSON key": lambda folder, text: put(folder, "T1w.json", json.dumps({"a": {text: 1}})),
    "JSON key twice": lambda folder, text: put(folder, "T1w.json", f'{{"a": {json.dumps(text)}, "a": "x"}}'),
    "JSON escapes": lambda folder, text: put(folder, "T1w.json", '{"a": "' + "".join(f"\\u{ord(c):04x}" for c in text) + '"}'),
    "JSON base64": lambda folder, text: put(folder, "T1w.json", json.dumps({"a": base64.b64encode(text.encode()).decode()})),
    "TSV cell": lambda folder, text: put(folder, "participants.tsv", f"participant_id\tnote\nsub-000001\t{text}\n"),
    "TSV header": lambda folder, text: put(folder, "participants.tsv", f"participant_id\t{text}\nsub-000001\tx\n"),
    "TSV cell beyond the header": lambda folder, text: put(folder, "participants.tsv", f"participant_id\nsub-000001\t{text}\n"),
    "CSV cell": lambda folder, text: put(folder, "rows.csv", f'participant_id,note\nsub-000001,"a, {text}"\n'),
    "Parquet cell": lambda folder, text: parquet(folder, arrow(note=["a", text, "b", "c"])),
    "Parquet cell, delta lengths": lambda folder, text: parquet(
        folder, arrow(note=["a", text, text + "x", "c"]), use_dictionary=False, column_encoding={"note": "DELTA_BYTE_ARRAY"}
    ),
    "Parquet list": lambda folder, text: parquet(folder, arrow(note=[["a"], [text], [], None])),
    "Parquet struct": lambda folder, text: parquet(folder, arrow(note=[{"a": 1, "b": text}] * 4)),
    "Parquet column's name": lambda folder, text: parquet(folder, arrow(**{text: [1.5] * 4})),
    "Parquet key-value metadata": lambda folder, text: parquet(folder, arrow().replace_schema_metadata({"from": text})),
    "Parquet field metadata": lambda folder, text: parquet(
        folder, pa.table(arrow().columns, pa.schema([field.with_metadata({"from": text}) for field in arrow().schema]))
    ),
    "Parquet dictionary, unused": unused_dictionary,
    "Parquet gap": gap,
    "Parquet cell, gzip and page index": lambda folder, text: parquet(
        folder, arrow(note=["a", text, "b", "c"]), compression="gzip", write_page_index=True, data_page_version="2.0"
    ),
    "PNG text": lambda folder, text: parquet(folder, arrow(preview=[picture("tEXt", text)] * 4)),
    "PNG compressed text": lambda folder, text: put(folder, "a.png", picture("zTXt", text)),
    "PNG international text": lambda folder, text: parquet(folder, arrow(preview=[picture("iTXt", text)] * 4)),
    "PNG Exif": lambda folder, text: put(folder, "a.png", picture("eXIf", text)),
    "PNG chunk of no known kind": lambda folder, text: put(folder, "a.png", picture("prVt", text)),
    "behind a PNG": lambda folder, text: parquet(folder, arrow(preview=[picture(tail=text.encode())] * 4)),
    "NIfTI description": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume(text))),
    "NIfTI db_name": lambda folder, text: put(folder, f"{NAME}.nii.gz", nii(db_name=b"")(text.encode())),
    "NIfTI aux_file": lambda folder, text: put(folder, f"{NAME}.nii.gz", nii(aux_file=b"")(text.encode())),
    "NIfTI intent_name": lambda folder, text: put(folder, f"{NAME}.nii.gz", nii(intent_name=b"")(text.encode())),
    "NIfTI field behind its end": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume("SYNTHETIC\0" + text))),
    "NIfTI extension": lambda folder, text: put(folder, f"{NAME}.nii.gz", extended(text.encode())),
    "NIfTI before the voxels": lambda folder, text: put(folder, f"{NAME}.nii.gz", before_voxels(text.encode())),
    "NIfTI behind the voxels": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume() + text.encode())),
    "gzip name": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume(), 8, text.encode() + b"\0")),
    "gzip comment": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume(), 16, text.encode() + b"\0")),
    "gzip extra field": lambda folder, text: put(
        folder, f"{NAME}.nii.gz", packed(volume(), 4, struct.pack("<H", len(text.encode())) + text.encode())
    ),
    "gzip second member": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume()) + packed(b"", 8, text.encode() + b"\0")),
    "behind gzip": lambda folder, text: put(folder, f"{NAME}.nii.gz", packed(volume()) + text.encode()),
    "tar: sidecar": lambda folder, text: write_tar(folder / "s.tar", [(f"{NAME}.json", json.dumps({"a": text}).encode())], 512),
    "tar: volume": lambda folder, text: write_tar(folder / "s.tar", [(f"{NAME}.nii.gz", packed(volume(text)))], 512),
    "tar: name": lambda folder, text: put(folder, "s.tar", tar([member(f"{text}/a.json")], [b"{}"])),
    "tar: owner": lambda folder, text: put(folder, "s.tar", tar([member(uname=text[:31])], [b"{}"])),
    "tar: group": lambda folder, text: put(folder, "s.tar", tar([member(gname=text[:31])], [b"{}"])),
    "tar: link's target": lambda folder, text: put(folder, "s.tar", tar([member(type=tarfile.SYMTYPE, linkname=text)], [b""])),
    "tar: pax record": lambda folder, text: put(folder, "s.tar", tar([member(pax_headers={"comment": text})], [b"{}"], tarfile.PAX_FORMAT)),
    "tar: pax record of all": lambda folder, text: put(
        folder, "s.tar", tar([member()], [b"{}"], tarfile.PAX_FORMAT, pax_headers={"comment": text})
    ),
    "tar: long name": lambda folder, text: put(folder, "s.tar", tar([member(f"{'a' * 120}/{text}/b.json")], [b"{}"], tarfile.GNU_FORMAT)),
    "tar: padding": lambda folder, text: put(folder, "s.tar", in_padding(text)),
    "tar: behind the end": lambda folder, text: put(folder, "s.tar", tar([member()], [b"{}"]) + text.encode()),
    "tar: behind the end, another tar": lambda folder, text: put(
        folder, "s.tar", tar([member()], [b"{}"]) + tar([member("a.txt")], [text.encode()])
    ),
    "safetensors metadata": lambda folder, text: put(folder, "latents/a.safetensors", tensors({"spec": json.dumps({"a": text})})),
    "safetensors name": lambda folder, text: put(folder, "latents/a.safetensors", tensors(None, b"", **{text: np.zeros(2, np.float32)})),
    "behind tensors": lambda folder, text: put(folder, "latents/a.safetensors", tensors(None, text.encode())),
    "torrent name": lambda folder, text: put(folder, "tiny.torrent", torrent(text)),
    "torrent comment": lambda folder, text: put(folder, "tiny.torrent", torrent(comment=text)),
    "torrent unknown key": lambda folder, text: put(folder, "tiny.torrent", torrent(**{"x-origin": [text]})),
    "torrent web seed": lambda folder, text: put(folder, "tiny.torrent", torrent(**{"url-list": [f"https://example.org/{text}/"]})),
    "behind a torrent": lambda folder, text: put(folder, "tiny.torrent", torrent(tail=text.encode())),
}

CAPACITY = {  # bytes of the places that hold few
    **{"NIfTI description": 79, "NIfTI db_name": 18, "NIfTI aux_file": 24, "NIfTI intent_name": 16, "NIfTI field behind its end": 69},
    **{"NIfTI before the voxels": 64, "tar: owner": 31, "tar: group": 31, "tar: padding": 400, "tar: link's target": 99},
    **{"tar: name": 80, "tar: volume": 79, "tar: long name": 120, "name of a file": 120, "name of a folder": 120},
}

SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda value: value,
    "in capitals": str.upper,
    "with _": lambda value: value.replace("-", "_"),
    "without separator": lambda value: value.replace("-", ""),
    "with a space": lambda value: value.replace("-", " "),
    "as a path": lambda value: f"/data/{value}/anat/{value}_ses-2_T1w.nii.gz",
    "in quotation marks": lambda value: f'"{value}"',
    "base64": lambda value: base64.b64encode(f"id {value} of".encode()).decode(),
    "base64 for URLs": lambda value: base64.urlsafe_b64encode(f"<{value}>".encode()).decode().rstrip("="),
    "hexadecimal": lambda value: value.encode().hex(),
    "hexadecimal, capitals": lambda value: value.encode().hex().upper(),
    "hexadecimal with colons": lambda value: value.encode().hex(":"),
    "base32": lambda value: base64.b32encode(value.encode()).decode(),
    "percent": lambda value: "".join(f"%{ord(letter):02X}" for letter in value),
    "HTML entities": lambda value: "".join(f"&#{ord(letter)};" for letter in value),
    "HTML entities, hexadecimal": lambda value: "".join(f"&#x{ord(letter):x};" for letter in value),
    "escapes": lambda value: "".join(f"\\x{ord(letter):02x}" for letter in value),
    "codes": lambda value: ", ".join(str(ord(letter)) for letter in value),
    "quoted-printable": lambda value: "".join(f"={ord(letter):02X}" for letter in value),
    "full width": lambda value: "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in value),
    "zero-width spaces": lambda value: "\u200b".join(value),
    "base64 of hexadecimal": lambda value: base64.b64encode(value.encode().hex().encode()).decode(),
}
