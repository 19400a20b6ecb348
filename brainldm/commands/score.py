"""Score somebody else's volumes, a folder of NIfTI and perhaps a table, with our protocol: no stage is run, nothing is trained."""

import json
import logging
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.progress import track

from brainldm import measuring, protocol, scoring
from brainldm.core import outputs
from brainldm.core.errors import DataError
from brainldm.core.files import write_json
from brainldm.core.regular_files import file_inside
from brainldm.formats import evaluation, foreign
from brainldm.formats.nifti import read_volume
from brainldm.formats.tables import write_tsv
from brainldm.metrics import fidelity, frechet
from brainldm.metrics.summary import Entries
from brainldm.metrics.verdicts import verdicts
from brainldm.models.pretrained import PACKAGED

WRITTEN = ("score.json", "volumes.tsv", "reference.npz")
FEWEST = 2  # volumes; to agree with what was asked for, 3
TOLD = (
    "n", "ventricles_r", "ventricles_bias_ml", "brain_r", "age_r", "age_mae_years", "fid", "fid_reference", "kid", "coverage",
    "ms_ssim", "g4r_ssim", "sharpness", "qc_pass_fraction",
)  # fmt: skip


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="volumes: NIfTI or MGH, in any place and of any voxels")],
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for score.json, volumes.tsv, reference.npz and the volumes on the grid")],
    table: Annotated[Path | None, typer.Option(help="what was asked for: path or participant_id, and any of the covariates")] = None,
    models: Annotated[Path, typer.Option(help="results/ of a finished run: its models measure; the packaged ones by default")] = PACKAGED,
    segmenter: Annotated[Path | None, typer.Option(help="what measures volumes instead: SynthSeg weights (.h5), mri_synthseg")] = None,
    unires: Annotated[str | None, typer.Option(help="command of UniRes, where the settings ask for it: no file may name a program")] = None,
    protocol_file: Annotated[Path | None, typer.Option("--protocol", help="protocol.yaml of a dataset: its settings, its weights")] = None,
    weights: Annotated[Path | None, typer.Option("--features", help="MedicalNet's weights, for FID by its features")] = None,
    reference: Annotated[Path | None, typer.Option(help="reference.npz of another set, for a FID against it")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """Where the run has its real scans, volumes are compared with them, else with the statistics and figures that it left."""
    rows = foreign.volumes_of(folder, table)
    if len(rows) < FEWEST:
        raise DataError(f"{folder}: expected at least {FEWEST} volumes, found {len(rows)}")
    inputs = [file for file in (folder, table, segmenter, protocol_file, weights, reference) if file]
    kept = [name for name in outputs.listed(out) if measuring.KEPT.fullmatch(name)]  # of a call that was interrupted
    out = outputs.check_folder(out, WRITTEN, overwrite, inputs, own=kept)
    frozen = protocol.read(protocol_file) if protocol_file else None
    real = models / "covariates/covariates.tsv"
    against = reference or models / "evaluate/reference.npz"
    if frozen:
        protocol.check(frozen, "reference", against)
    bench = scoring.bench(models, scoring.Programs(segmenter, weights, unires), frozen, device)
    rows = rows.assign(**_placed(rows["path"].tolist(), bench, out / measuring.FOLDER))

    def read(places: range | np.ndarray) -> np.ndarray:
        return np.stack([read_volume(rows["path"][place], bench.given.grid) for place in places])[:, None]

    measured, features = scoring.look(bench, read, len(rows), "volumes")
    report: Entries = {"n": len(rows), "fid_features": bench.features, **scoring.alone(bench, rows, measured, read)}
    if real.exists():
        file_inside(models, "covariates/covariates.tsv")
        report |= scoring.beside_scans(bench, real, rows, measured, features)
    else:
        report |= scoring.beside_figures(models)
    if reference or not real.exists():
        moments = evaluation.read_reference(reference or file_inside(models, "evaluate/reference.npz"), bench.features)
        report |= fidelity.against_reference(moments, features, bench.given.seed)
    report["verdicts"] = {name: row for name, row in verdicts(report).items() if row["limit"] is not None}
    evaluation.write_reference(out / "reference.npz", *frechet.moments(features), bench.features)
    write_tsv(out / "volumes.tsv", pd.concat([rows.drop(columns="where", errors="ignore"), measured.add_prefix("measured_")], axis=1))
    write_json(out / "score.json", report)
    typer.echo(json.dumps({key: report[key] for name in TOLD for key in (name, f"{name}_real") if key in report}, indent=2))


def _placed(paths: list[Path], bench: scoring.Bench, keep: Path) -> dict[str, list[Path] | list[str]]:
    """Columns of volumes.tsv: the volumes on the grid, and what was done to each; it is said of all together as well."""
    given, shown = bench.given, track(paths, "onto the grid", console=Console(stderr=True))
    found = [measuring.on_grid(path, given.grid, bench.placing, given.seed, keep) for path in shown]
    n_registered = sum(one.placed != measuring.AS_IT_IS for one in found)
    changed = [one.intensities for one in found if one.intensities != measuring.AS_THEY_ARE]
    logging.info("%d volumes: %d were registered, %d lie on the grid", len(found), n_registered, len(found) - n_registered)
    if changed:
        logging.warning("intensities of %d of %d volumes were scaled to [0, 1]; of the first, %s", len(changed), len(found), changed[0])
    if n_noted := sum(one.header_notes != "" for one in found):
        logging.warning("the headers of %d volumes called for a decision: column header_notes of volumes.tsv", n_noted)
    return {name: [getattr(one, name) for one in found] for name in measuring.OnGrid._fields}
