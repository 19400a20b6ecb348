"""A small release made without the stages, to be spoilt: the table, volumes as files, tars or latents, texts, checksums."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from brainldm.core.columns import MEASURED, REQUESTED, STORED, Column
from brainldm.core.grid import Grid
from brainldm.core.rows import participant_id
from brainldm.formats import bids
from brainldm.formats.facts import DESCRIBED
from brainldm.formats.nifti import encode_volume, quantise, voxel_sha256
from brainldm.formats.packs import PLAIN
from brainldm.formats.tables import tsv_text

GRID = Grid.model_validate({"shape": [6, 7, 5], "spacing_mm": 20.0, "center_mm": [0, -17, 6]})
N = 4
SHARD = "000000-000003"
TEXTS = ("dataset_description.json", "T1w.json", "participants.json", "README.md", "LICENSE", "CHANGES", "CITATION.cff", "DATASHEET.md")
_VALUES = {"int64": 0, "float32": 50.0, "bool": True, "string": ""}


def table(packaging: str, volumes: list[bytes], latents: np.ndarray) -> pd.DataFrame:
    """Rows of the release; the columns are whatever this version has."""
    frame = pd.DataFrame({column.name: [_value(column)] * N for column in (*REQUESTED, *MEASURED, *STORED)})
    who = [participant_id(index) for index in range(N)]
    offsets = np.cumsum([512, *(len(one) + 512 for one in volumes[:-1])])
    counts = [quantise(np.random.default_rng(index).random(GRID.shape)) for index in range(N)]
    return frame.assign(
        index=range(N),
        participant_id=who,
        sex=["FM"[index % 2] for index in range(N)],
        age_years=[50.0 + index for index in range(N)],
        noise_index=range(N),
        path=[bids.volume_path(name) for name in who],
        shard=SHARD,
        tar_offset=offsets if packaging == "tars" else None,
        n_bytes=[len(one) for one in volumes],
        sha256=[hashlib.sha256(one).hexdigest() for one in volumes],
        voxel_sha256=[voxel_sha256(one) for one in counts],
        latent_sha256=[hashlib.sha256(one.tobytes()).hexdigest() for one in latents],
    )


def _value(column: Column) -> object:
    return next(iter(column.levels)) if column.levels and column.kind == "string" else _VALUES[column.kind]


def make(folder: Path, packaging: str = "files") -> Path:
    """Write the release; returns its folder."""
    folder.mkdir(parents=True)
    counts = [quantise(np.random.default_rng(index).random(GRID.shape)) for index in range(N)]
    volumes = [encode_volume(one, GRID, "SYNTHETIC") for one in counts]
    latents = np.arange(N * 24, dtype=np.float16).reshape(N, 3, 2, 2, 2)
    frame = table(packaging, volumes, latents)
    write_table(folder, pa.Table.from_pandas(frame, PLAIN, preserve_index=False), packaging)
    if packaging == "files":
        for path, content in zip(frame["path"], volumes, strict=True):
            (folder / path).parent.mkdir(parents=True)
            (folder / path).write_bytes(content)
    elif packaging == "tars":
        (folder / "shards").mkdir()
        (folder / f"shards/{SHARD}.tar").write_bytes(b"".join(bytes(512) + one for one in volumes) + bytes(1024))
    else:
        header = json.dumps({"latents": {"dtype": "F16", "shape": [N, 3, 2, 2, 2], "data_offsets": [0, latents.nbytes]}}).encode()
        (folder / "latents").mkdir()
        (folder / f"latents/{SHARD}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + latents.tobytes())
        (folder / "autoencoder.safetensors").write_bytes(b"weights")
    for name in TEXTS:
        (folder / name).write_text(f"text of {name}\n")
    (folder / "provenance.json").write_text("{}\n")
    (folder / "participants.tsv").write_text(tsv_text(bids.participants_table(frame, DESCRIBED)))
    vouch(folder)
    return folder


def write_table(folder: Path, rows: pa.Table, packaging: str = "files", **options: object) -> None:
    """Write the table as the release has it."""
    schema = rows.schema.with_metadata({"packaging": packaging})
    pq.write_table(rows.cast(schema), folder / "covariates.parquet", **{"compression": "zstd", "write_page_checksum": True, **options})


def rewrite(folder: Path, column: str, values: object) -> None:
    """Give a column other values, of whatever type they are."""
    rows = pq.read_table(folder / "covariates.parquet")
    packaging = rows.schema.metadata[b"packaging"].decode()
    place = rows.schema.get_field_index(column)
    array = values if isinstance(values, pa.Array) else pa.array(values)
    write_table(folder, rows.set_column(place, column, array), packaging)
    vouch(folder)


def vouch(folder: Path) -> None:
    """List every regular file with its true hash, as a hostile release would; what cannot be read keeps its old line."""
    path = folder / "checksums.sha256"
    known = {line[66:]: line[:64] for line in path.read_text().splitlines()} if path.is_file() else {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and file != path and file.stat().st_size < 1 << 30:
            known[file.relative_to(folder).as_posix()] = hashlib.sha256(file.read_bytes()).hexdigest()
    path.write_text("".join(f"{digest}  {name}\n" for name, digest in sorted(known.items())))
