"""Generate one shard of volumes: requested rows and two networks in, a tar and its manifest out; finished rows survive a kill.

With `generate.attempts` above 1 every volume is judged by what `measure` uses, and one that fails is drawn again.
"""

import logging
import resource
import time
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from lightning_fabric import Fabric
from rich.progress import track

from brainldm import drawing
from brainldm.core import outputs
from brainldm.core.config import Given, read_section
from brainldm.core.covariates import NAMES, covariate_array
from brainldm.core.errors import DataError
from brainldm.core.files import sha256, writing
from brainldm.core.pipeline import handed_over
from brainldm.core.requeue import requeued
from brainldm.core.rows import participant_id, row_numbers, shard_rows
from brainldm.formats import shards
from brainldm.formats.nifti import encode_volume, voxel_sha256, write_bytes
from brainldm.formats.tables import read_parquet
from brainldm.models import devices, rows
from brainldm.models.training import make_fabric

WRITERS, WAITING = 2, 8  # threads that compress and write, and volumes at most that they have before them


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    request: Annotated[list[Path], typer.Option(help="requested rows: of the shard, or with --rows of any; repeat for each table")],
    autoencoder_model: Annotated[Path, typer.Option("--autoencoder", help="autoencoder checkpoint, or alone a baseline's")],
    diffusion_model: Annotated[Path | None, typer.Option("--diffusion", help="diffusion checkpoint", default_factory=lambda: None)],
    out: Annotated[Path, typer.Option(help="manifest to write; tar and latents stand beside it. With --rows: folder to write to")],
    only: Annotated[str | None, typer.Option("--rows", help="make these rows alone (17,4021), as files named by row")] = None,
    segmenter: Annotated[Path | None, typer.Option(help="what measures volumes, where rows are drawn again")] = None,
    age: Annotated[Path | None, typer.Option(help="age model checkpoint, where rows are drawn again")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda (a GPU that no other worker has) or cuda:1")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help=f"with --rows: {outputs.HELP}")] = False,
) -> None:
    """Batches are always full, and a row sees only its own noise, so its bytes depend neither on the shard nor on a restart."""
    given = read_section(section, "generate")
    models = drawing.Models(autoencoder_model, diffusion_model, segmenter, age)
    table = pd.concat([_read(path) for path in request], ignore_index=True)
    if only is None or "attempt" not in table:  # else it is the table of a release, which tells what draw was kept
        table = table.drop(columns="attempt", errors="ignore")
        drawing.check_judges(section, given, models)
    if only is not None:
        out = outputs.check_folder(out, [_file_name(row) for row in row_numbers(only)], overwrite, request)
    work = out.parent / "work"
    with writing(out), requeued(), devices.taken(device, work) as place:
        fabric = make_fabric(place, given.precision, given.seed)
        if only is not None:
            _remake(_chosen(table, only, request), given, fabric, models, out)
            return
        _check_shard(out.stem, table["index"], request)
        made_by = drawing.provenance(given, fabric, models)
        identity = shards.fingerprint(provenance=made_by, request_sha256=[sha256(path) for path in request])
        with shards.open_journal(work / out.stem, identity) as journal:
            missing = table[~table["index"].isin(journal.finished)]
            logging.info("shard %s: %d of %d rows to generate", out.stem, len(missing), len(table))
            if len(missing):
                _generate(missing, given, fabric, models, journal)
            shards.pack(journal, out.stem, out, made_by)
            shards.discard(journal)


def _read(path: Path) -> pd.DataFrame:
    table = read_parquet(path, ["index", "seed", *NAMES])
    covariate_array(table, str(path))  # a value that is missing or unknown is an error before anything is written
    return table


def _chosen(table: pd.DataFrame, only: str, request: list[Path]) -> pd.DataFrame:
    wanted = row_numbers(only)
    if unknown := sorted(set(wanted) - set(table["index"])):
        raise DataError(f"{', '.join(map(str, request))}: expected the rows {only}, found none for {unknown}")
    return table.drop_duplicates("index").set_index("index", drop=False).loc[wanted]


def _check_shard(shard: str, found: pd.Series, request: list[Path]) -> None:
    if sorted(found) != list(shard_rows(shard)):
        raise DataError(
            f"{', '.join(map(str, request))}: expected every row of shard {shard} once, found {len(found)}: {found.min()} to {found.max()}"
        )


def _generate(table: pd.DataFrame, given: Given, fabric: Fabric, models: drawing.Models, journal: shards.Journal) -> None:
    """Make the rows while threads compress, hash and write those before; says what a row took, and the memory at its peak."""

    def keep(row: rows.Row) -> None:
        shards.commit(journal, row.index, _file_of(row, given), voxel_sha256(row.counts), row.latent, row.rejected)

    drawn, again = drawing.draw(table, given, fabric, models), 0
    title, start, cpu = f"shard {journal.folder.name}", time.monotonic(), time.process_time()
    with handed_over(keep, WRITERS, WAITING) as hand_over:
        for row in track(drawn, title, len(table)):
            hand_over(row)
            again += row.attempt
    each_s, cpu_s = ((now - then) / len(table) for now, then in ((time.monotonic(), start), (time.process_time(), cpu)))
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    found = (title, len(table), each_s, cpu_s, peak_mb, again)
    logging.info("%s: %d rows, %.4f s each (CPU %.4f s), at most %.0f MB of memory, %d draws rejected", *found)


def _remake(table: pd.DataFrame, given: Given, fabric: Fabric, models: drawing.Models, folder: Path) -> None:
    for row in track(drawing.draw(table, given, fabric, models), "rows", len(table)):
        write_bytes(folder / _file_name(row.index), _file_of(row, given))
    logging.info("%s: %d rows", folder, len(table))


def _file_name(index: int) -> str:
    return f"{index:06d}.nii.gz"


def _file_of(row: rows.Row, given: Given) -> bytes:
    return encode_volume(row.counts, given.grid, f"SYNTHETIC T1w brainldm {participant_id(row.index)}")
