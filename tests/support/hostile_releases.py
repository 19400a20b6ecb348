"""Ways to spoil a release so that its reader is harmed; each takes the folder of a sound one and returns what the error must name."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from plain_release import SHARD, N, rewrite, vouch, write_table

TABLE = "covariates.parquet"
BIG = 1 << 40
Spoil = Callable[[Path], str]
SPOILS: dict[str, tuple[str, Spoil]] = {}  # by name: packaging, and what spoils


def case(name: str, packaging: str = "files") -> Callable[[Spoil], Spoil]:
    def add(spoil: Spoil) -> Spoil:
        SPOILS[name] = packaging, spoil
        return spoil

    return add


def _values(
    name: str, column: str, first: object, rest: object = None, kind: pa.DataType | None = None, packaging: str = "files", named: str = ""
) -> None:
    @case(name, packaging)
    def spoil(folder: Path) -> str:
        kept = pq.read_table(folder / TABLE).column(column).to_pylist()[1:] if rest is None else [rest] * (N - 1)
        rewrite(folder, column, pa.array([first, *kept], kind))
        return named or column


for given in (None, -1, 0, 2**62):
    _values(f"n_bytes is {given}", "n_bytes", given)
_values("n_bytes is more than the file has", "n_bytes", 100_000, named="sub-000001_T1w.nii.gz")
_values("n_bytes is half", "n_bytes", 100.5, 100.0)
_values("n_bytes are texts", "n_bytes", "100", "100")
_values("n_bytes are lists", "n_bytes", [100], [100])
_values("n_bytes are times", "n_bytes", 100, 100, pa.timestamp("s"))
_values("tar_offset lies behind the tar", "tar_offset", 2**20, packaging="tars", named=f"{SHARD}.tar")
_values("tar_offset leaves a hole of 1 TB", "tar_offset", 2**40, packaging="tars")
for given in (-1, 2**62, None):
    _values(f"tar_offset is {given}", "tar_offset", given, packaging="tars")
_values("an offset where no tar is", "tar_offset", 7, 7)
for given in (-1, None, 2**62, 1):
    _values(f"index is {given}", "index", given)
_values("a participant twice", "participant_id", "sub-000002", named="path")
_values("a participant that climbs", "participant_id", "../../outside")
_values("a path that climbs", "path", "../../outside")
_values("an absolute path", "path", "/etc/hostname")
_values("a path of null bytes", "path", "a\0b")
_values("a shard that climbs", "shard", "../../outside")
_values("a shard of other digits", "shard", "\u0660" * 6 + "-00000\u0663")
_values("a shard without the row", "shard", "000001-000003")
_values("a shard backwards", "shard", "000003-000000")
_values("a hash that is none", "sha256", "abc")
_values("a hash that is missing", "sha256", None)
_values("a latent's hash of null bytes", "latent_sha256", "\0" * 64)
for told, given in (
    ("escapes", "\x1b]0;owned\x07\x1b[2J"),
    ("a line break", "a\nbrainldm: error: all is well"),
    ("a reversal", "a\u202eb"),
):
    _values(f"a cell with {told}", "cell", given)
    _values(f"a reason with {told}", "qc_reason", given)
_values("a text of 100 kB", "design", "x" * 100_000)
_values("texts that are bytes", "design", b"\xff", b"\xff", pa.binary())
for given in (float("nan"), float("inf"), None, -5.0, 0.0):
    _values(f"an age of {given}", "age_years", given, kind=pa.float32())
_values("an age that is a text", "age_years", "old", "old")
_values("a sex that is none", "sex", "X")
_values("a sex that is missing", "sex", None)
_values("a truth that is missing", "qc_pass", None)
_values("a measurement without end", "measured_brain_ml", float("inf"), kind=pa.float32())
_values("a seed below zero", "seed", -5)
_values("structs", "sex", {"a": 1}, {"a": 1})


@case("a column is missing")
def _(folder: Path) -> str:
    write_table(folder, pq.read_table(folder / TABLE).drop_columns("n_bytes"))
    vouch(folder)
    return "n_bytes"


@case("a column twice")
def _(folder: Path) -> str:
    rows = pq.read_table(folder / TABLE)
    write_table(folder, rows.append_column("sex", rows.column("sex")))
    vouch(folder)
    return "sex"


@case("an unknown packaging")
def _(folder: Path) -> str:
    write_table(folder, pq.read_table(folder / TABLE), "\x1b[2Jzip")
    vouch(folder)
    return TABLE


def _repeated(folder: Path, column: str, value: object, n: int, kind: pa.DataType, **options: object) -> str:
    """A table of n rows that differ in their index only, in few bytes."""
    rows = pq.read_table(folder / TABLE)
    columns = {name: pa.repeat(rows.column(name)[0], n) for name in rows.column_names}
    columns |= {"index": pa.array(range(n), pa.int64()), column: pa.repeat(pa.scalar(value, kind), n)}
    many = pa.table([columns[name] for name in rows.column_names], rows.schema)
    write_table(folder, many, **options)
    vouch(folder)
    return TABLE


@case("a text of 1 MB in 100,000 rows, in few bytes")
def _(folder: Path) -> str:
    rows = pq.read_table(folder / TABLE)
    n = 100_000
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * n, pa.int32()), pa.array(["x" * 1_000_000]))
    columns = {name: pa.repeat(rows.column(name)[0], n) for name in rows.column_names} | {"cell": texts}
    write_table(folder, pa.table(columns), write_page_checksum=False)
    vouch(folder)
    return TABLE


@case("4,000 bytes in 70,000 rows")
def _(folder: Path) -> str:
    return _repeated(folder, "cell", "y" * 4000, 70_000, pa.string(), use_dictionary=False)


@case("more rows than are read")
def _(folder: Path) -> str:
    return _repeated(folder, "seed", 5, 320_000, pa.int64())


@case("pages that unpack to 480 MB")
def _(folder: Path) -> str:
    rows = pq.read_table(folder / TABLE)
    packed = pa.array(["z" * 120_000_000] * N)
    write_table(folder, rows.set_column(rows.schema.get_field_index("cell"), "cell", packed), use_dictionary=False, write_statistics=False)
    vouch(folder)
    assert (folder / TABLE).stat().st_size < 1 << 20
    return TABLE


@case("texts that share beginnings")
def _(folder: Path) -> str:
    rows = pq.read_table(folder / TABLE)
    write_table(folder, rows, use_dictionary=False, column_encoding={"cell": "DELTA_BYTE_ARRAY"})
    vouch(folder)
    return "cell"


def _table_bytes(name: str, change: Callable[[bytes], bytes]) -> None:
    @case(name)
    def spoil(folder: Path) -> str:
        (folder / TABLE).write_bytes(change((folder / TABLE).read_bytes()))
        vouch(folder)
        return TABLE


_table_bytes("an empty table", lambda content: b"")
_table_bytes("a table that is a text", lambda content: b"hello" * 100)
_table_bytes("a table of its ends alone", lambda content: b"PAR1PAR1")
_table_bytes("half a table", lambda content: content[: len(content) // 2])
_table_bytes("a footer of 4 GB", lambda content: content[:-8] + b"\xff\xff\xff\xff" + content[-4:])
_table_bytes("a footer of zeros", lambda content: b"PAR1" + bytes(1_300_000) + (1_300_000).to_bytes(4, "little") + b"PAR1")
_table_bytes("a footer of endless lists", lambda content: b"PAR1" + b"\x19" * 1_300_000 + (1_300_000).to_bytes(4, "little") + b"PAR1")


def _replaced(name: str, file: str, put: Callable[[Path], object], packaging: str = "files", named: str = "") -> None:
    @case(name, packaging)
    def spoil(folder: Path) -> str:
        path = folder / file.format(shard=SHARD)
        path.unlink()
        put(path)
        return named or path.name


def _huge(path: Path) -> None:
    with path.open("wb") as handle:
        handle.truncate(BIG)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        at = os.open(path.parent, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{at}/{path.name}")
        os.close(at)


def _outside(path: Path) -> None:
    secret = path.parents[len(path.parts) - path.parts.index("release") - 1].parent / "secret.txt"
    secret.write_text("private\n")
    path.symlink_to(secret)


_PUTS = {
    "is a pipe": os.mkfifo,
    "is a socket": _socket,
    "is a folder": os.mkdir,
    "leads to /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "leads out": _outside,
    "leads to itself": lambda path: path.symlink_to(path.name),
    "leads to nothing": lambda path: path.symlink_to("nothing"),
    "has 1 TB": _huge,
    "is missing": lambda path: None,
}
for told, put in _PUTS.items():
    _replaced(f"README.md {told}", "README.md", put)
    _replaced(f"the table {told}", TABLE, put)
    _replaced(f"checksums {told}", "checksums.sha256", put)
    _replaced(f"a tar {told}", "shards/{shard}.tar", put, "tars") if told != "has 1 TB" else None
    _replaced(f"a volume {told}", "sub-000001/anat/sub-000001_T1w.nii.gz", put) if told != "has 1 TB" else None


@case("a folder of volumes leads out")
def _(folder: Path) -> str:
    elsewhere = folder.parent / "elsewhere"
    (folder / "sub-000001").rename(elsewhere)
    (folder / "sub-000001").symlink_to(elsewhere)
    return "sub-000001_T1w.nii.gz"


@case("a text was changed")
def _(folder: Path) -> str:
    (folder / "LICENSE").write_text("all rights reserved\n")
    return "LICENSE"


@case("a text is not listed")
def _(folder: Path) -> str:
    lines = (folder / "checksums.sha256").read_text().splitlines(keepends=True)
    (folder / "checksums.sha256").write_text("".join(line for line in lines if "CITATION" not in line))
    return "CITATION.cff"


@case("a volume is listed with another hash")
def _(folder: Path) -> str:
    text = (folder / "checksums.sha256").read_text()
    line = next(line for line in text.splitlines() if "sub-000001_T1w.nii.gz" in line)
    (folder / "checksums.sha256").write_text(text.replace(line, "0" * 64 + line[64:]))
    return "sub-000001_T1w.nii.gz"


def _listing(name: str, change: Callable[[bytes], bytes]) -> None:
    @case(name)
    def spoil(folder: Path) -> str:
        path = folder / "checksums.sha256"
        path.write_bytes(change(path.read_bytes()))
        return "checksums.sha256"


_ZEROS = b"0" * 64 + b"  "
_listing("checksums that are empty", lambda content: b"")
_listing("checksums that are bytes", lambda content: content + b"\xff\xfe\n")
_listing("checksums of escapes", lambda content: content + _ZEROS + b"\x1b[2J\n")
_listing("checksums of a hash that is none", lambda content: content + b"g" * 64 + b"  file\n")
_listing("checksums that climb", lambda content: content + _ZEROS + b"../secret.txt\n")
_listing("checksums that climb within", lambda content: content + _ZEROS + b"a/../../secret.txt\n")
_listing("checksums of an absolute name", lambda content: content + _ZEROS + b"/etc/hostname\n")
_listing("checksums of the folder", lambda content: content + _ZEROS + b".\n")
_listing("checksums that say it twice", lambda content: content + _ZEROS + b"README.md\n")
_listing("checksums of a long name", lambda content: content + _ZEROS + b"a" * 100_000 + b"\n")
_listing("checksums without the table", lambda content: b"\n".join(line for line in content.splitlines() if b"parquet" not in line) + b"\n")
