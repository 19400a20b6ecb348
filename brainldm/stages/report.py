"""Write the HTML report: one self-contained page from the evaluation, the training logs and the release."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer

from brainldm.core.config import read_section
from brainldm.core.errors import DataError
from brainldm.core.files import sha256, write_text
from brainldm.formats import chapters, evaluation, html, membership, resources, scan_sheet, scores, viewer

LADDERS = (
    ("ladder", "ventricles_ml", "ventricular volume (mL)"),
    ("ladder", "brain_ml", "brain volume (mL)"),
    ("ladder", "age_years", "age (years)"),
    ("beyond", "ventricles_ml", "ventricular volume (mL)"),
    ("beyond", "brain_ml", "brain volume (mL)"),
)


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    qc: Annotated[list[Path], typer.Option(help="QC table of a batch; repeat for every batch")],
    evaluate: Annotated[Path, typer.Option(help="report.json; its tables and images lie beside it")],
    log: Annotated[list[Path], typer.Option(help="log of a training; repeat for every one")],
    release: Annotated[Path, typer.Option(help="checksums of the release")],
    out: Annotated[Path, typer.Option(help="page to write; its headline figures go beside it as plain text")],
) -> None:
    """Every number comes from the files; nothing is computed anew."""
    given = read_section(section, "report")
    grid, found = given.grid, evaluation.read(evaluate)
    lede = f"{found.report['n_synthetic']:,} synthetic T1-weighted volumes of {found.report['resolution']}, after Pinaya et al. 2022."
    body = [
        chapters.headline(found.report),
        scores.verdicts(found.report),
        chapters.contact_sheet(found, grid, given.seed),
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
        chapters.failures(found, grid),
        scan_sheet.chapter(scan_sheet.read_batches(qc), grid, given.seed),
        chapters.story(),
        chapters.trainings({path.parent.name: read_log(path) for path in log}),
        chapters.release(contents(release), torrent(release.parent)),
        resources.chapter(out.parent / "benchmarks"),
        chapters.everything(found.report),
    ]
    write_text(out, html.page("Synthetic brain MRI: what this run made", lede, body))
    places = f"report:  {out}\nrelease: {release.parent}\n"
    write_text(out.with_suffix(".txt"), f"brainldm: {chapters.headline_text(found.report)}\n{places}")


def read_log(path: Path) -> dict[str, np.ndarray]:
    """The columns of a training log; DataError if there is no log or it lacks step and seconds."""
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: expected the log of a training as CSV, found none that can be read ({error})") from None
    if table.empty or not {"step", "seconds"} <= set(table.columns):
        raise DataError(f"{path}: expected rows with the columns step and seconds, found {', '.join(table.columns)} in {len(table)} rows")
    return {str(name): table[name].to_numpy(float) for name in table.columns}


def contents(checksums: Path) -> list[tuple[str, int, int]]:
    """(entry, files, bytes) of every file that `checksums` lists; the folders of participants count as one entry."""
    counts: Counter[str] = Counter()
    sizes: Counter[str] = Counter()
    for line in checksums.read_text(encoding="utf-8").splitlines():
        name = line.split(maxsplit=1)[1].lstrip("*")
        first, *rest = Path(name).parts
        entry = first if not rest else "sub-*/" if first.startswith("sub-") else f"{first}/"
        counts[entry] += 1
        sizes[entry] += (checksums.parent / name).stat().st_size
    return [(entry, counts[entry], sizes[entry]) for entry in sorted(counts)]


def torrent(folder: Path) -> tuple[str, str] | None:
    """Name and SHA-256 of the torrent of a release, where there is one."""
    found = sorted(folder.glob("*.torrent"))
    return (found[0].name, sha256(found[0])) if found else None
