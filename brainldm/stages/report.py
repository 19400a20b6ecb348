"""Write the evaluation as two HTML pages: a private one with real scans for who made the run, and a public one without them."""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm.core.config import read_section
from brainldm.core.errors import DataError
from brainldm.core.files import write_text
from brainldm.core.grid import Grid
from brainldm.formats import chapters, evaluation, html, membership, resources, scan_sheet, scores, table_audit, viewer
from brainldm.formats.publishable import LEAST_SCANS, publishable

LADDERS = (
    ("ladder", "ventricles_ml", "ventricular volume (mL)"),
    ("ladder", "brain_ml", "brain volume (mL)"),
    ("ladder", "age_years", "age (years)"),
    ("beyond", "ventricles_ml", "ventricular volume (mL)"),
    ("beyond", "brain_ml", "brain volume (mL)"),
)
TITLE = "Synthetic brain MRI: what this run made"
PRIVATE, PUBLIC = "private", "public"  # what `html.kind_of` says of the pages


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    qc: Annotated[list[Path], typer.Option(help="QC table of a batch; repeat for every batch")],
    evaluate: Annotated[Path, typer.Option(help="report.json; its tables and images lie beside it")],
    log: Annotated[list[Path], typer.Option(help="log of a training; repeat for every one")],
    out: Annotated[Path, typer.Option(help="private page to write; its headline figures go beside it as plain text")],
    public: Annotated[Path | None, typer.Option(help="public page to write: no real scans, no ids, no value of one person")] = None,
) -> None:
    """Every number comes from the files; nothing is computed anew."""
    given = read_section(section, "report")
    found, scans = evaluation.read(evaluate), scan_sheet.read_batches(qc)
    logs = {path.parent.name: read_log(path) for path in log}
    written = f"report:  {out} (private: it holds real scans)\n"
    if public:
        write_text(public, public_page(publishable(found), scans, given.grid, given.seed))
        written += f"public:  {public}\n"
    write_text(out, private_page(found, scans, logs, out.parent / "benchmarks", given.grid, given.seed))
    write_text(out.with_suffix(".txt"), f"brainldm: {chapters.headline_text(found.report)}\n{written}")


def private_page(
    found: evaluation.Evaluation, scans: pd.DataFrame, logs: dict[str, dict[str, np.ndarray]], benchmarks: Path, grid: Grid, seed: int
) -> str:
    """Return the page for who made the run: everything, behind a banner that says what must not be published."""
    body = [
        *evaluated(found, grid, seed),
        scan_sheet.chapter(scans, grid, seed),
        chapters.story(),
        chapters.trainings(logs),
        resources.chapter(benchmarks),
        chapters.everything(found.report),
    ]
    banner = html.banner(PRIVATE, "Private: do not publish this page.", *chapters.private_contents(found, scan_sheet.shown(scans, seed)))
    return html.page(f"Private. {TITLE}", lede(found), body, banner, PRIVATE)


def public_page(found: evaluation.Evaluation, scans: pd.DataFrame, grid: Grid, seed: int) -> str:
    """Return the page that may be published, of the publishable part of an evaluation.

    It tells no times, so that equal volumes have equal pages.
    """
    body = [*evaluated(found, grid, seed), scan_sheet.summary(scans), chapters.story(), chapters.everything(found.report)]
    banner = html.banner(
        PUBLIC,
        "This page may be published.",
        "Every picture is of a synthetic volume. Figures of real scans are of many people together; no scan, id or value of one is here. "
        f"What rests on fewer than {LEAST_SCANS} scans is left out, as not computed.",
    )
    return html.page(TITLE, lede(found), body, banner, PUBLIC)


def lede(found: evaluation.Evaluation) -> str:
    """Return the line below the title."""
    return f"{found.report['n_synthetic']:,} synthetic T1-weighted volumes of {found.report['resolution']}, after Pinaya et al. 2022."


def evaluated(found: evaluation.Evaluation, grid: Grid, seed: int) -> list[str]:
    """Return the chapters on the evaluation; each shows what of it `found` holds."""
    return [
        chapters.headline(found.report),
        scores.verdicts(found.report),
        chapters.contact_sheet(found, grid, seed),
        viewer.chapter(found, grid),
        chapters.obedience(found),
        *(chapters.ladder(found, *which, grid) for which in LADDERS[:3]),
        chapters.figure_4(found, grid),
        *(chapters.ladder(found, *which, grid) for which in LADDERS[3:]),
        scores.features(found.report),
        scores.diversity(found.report),
        scores.anatomy(found.report),
        scores.coverage(found.report),
        scores.copies(found, grid),
        membership.chapter(found.report),
        table_audit.chapter(found.report),
        chapters.failures(found, grid),
    ]


def read_log(path: Path) -> dict[str, np.ndarray]:
    """The columns of a training log; DataError if there is no log or it lacks step and seconds."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the log of a training as CSV, found none that can be read ({error})") from None
    if table.empty or not {"step", "seconds"} <= set(table.columns):
        raise DataError(f"{path}: expected rows with the columns step and seconds, found {', '.join(table.columns)} in {len(table)} rows")
    return {str(name): table[name].to_numpy(float) for name in table.columns}
