"""The report's chapter on the scans that went in: how preprocessing measured them, which it flags, and a contact sheet."""

from pathlib import Path

import numpy as np
import pandas as pd

from brainldm.core.grid import Grid
from brainldm.formats import figures, html
from brainldm.formats.nifti import read_volume
from brainldm.formats.publishable import DIGITS, LEAST_SCANS
from brainldm.formats.tables import read_tsv

SHOWN = 24
MEASURES = {
    "similarity": "similarity to the template",
    "rotation_deg": "rotation, degrees",
    "translation_mm": "translation, mm",
    "brain_in_scan": "share of the brain that the scan shows",
    "head_in_grid": "share of the scan's head in the grid's box",
    "intensity_p05": "brain's intensity, 5th percentile",
    "intensity_p50": "brain's intensity, median",
    "intensity_p95": "brain's intensity, 95th percentile",
    "raw_lowest": "lowest intensity in the file",
    "raw_highest": "highest intensity in the file",
    "raw_at_0": "intensity that became 0",
    "raw_at_1": "intensity that became 1",
    "outlier_share": "share of voxels far beyond the others, which were limited",
    "background_level": "level of the air, where 0 is right",
    "background_noise": "spread of the air",
    "intensity_offset": "constant that was added to the air, of the range",
    "wraparound": "pits as deep as the whole range, per voxel",
    "slice_jump": "misfit of the worst slice between its neighbours",
}
HEADER = {
    "header_form": "which form places the voxels",
    "header_unit": "unit",
    "header_offset": "byte of the first voxel",
}
NOTED = 100  # scans whose notes are listed


def read_batches(tables: list[Path]) -> pd.DataFrame:
    """The QC tables of all batches as one; `volume` leads to the file from the working directory, and is missing for bad scans."""
    parts = []
    for path in tables:
        table = read_tsv(path, ["participant_id", "status", "reason", "volume", "flags", "header_notes", *MEASURES, *HEADER])
        parts.append(table.assign(volume=[None if pd.isna(name) else str(path.parent / name) for name in table["volume"]]))
    return pd.concat(parts, ignore_index=True)


def chapter(scans: pd.DataFrame, grid: Grid, seed: int) -> str:
    """Measures of all scans, and pictures: those with flags first, then others drawn at random."""
    good, bad = scans[scans["status"] == "ok"], scans[scans["status"] != "ok"]
    flagged = good["flags"].notna()
    chosen = _chosen(good, seed)
    caption = (
        f"n = {len(chosen)} of {len(good):,} scans on the grid: first those with flags (lowest similarity first), then others, drawn. "
        "Axial, coronal, sagittal; the left edge of the axial and coronal pictures is the subject's left. "
        "Good: upright, whole, in the middle, none mirrored."
    )
    text = f"{len(good):,} scans were taken, {int(flagged.sum()):,} of them flagged; {len(bad):,} could not be used."
    rows = [
        (name, *(html.number(value, 3) for value in np.quantile(good[column], (0, 0.01, 0.5, 0.99, 1))))
        for column, name in MEASURES.items()
    ]
    parts = [
        html.paragraph(text),
        html.table(("measure", "lowest", "1 %", "median", "99 %", "highest"), rows),
        html.tiles(_strip(row, grid) for row in chosen.itertuples()),
        html.paragraph(caption),
        *_headers(good),
    ]
    if len(bad):
        refused = html.table(("scan", "why"), [(html.escape(row.participant_id), html.escape(row.reason)) for row in bad.itertuples()])
        parts.append(html.folded(f"{len(bad)} scans that could not be used", refused))
    return html.section("Were the scans read right?", *parts)


def _headers(good: pd.DataFrame) -> list[str]:
    """What was read from the scans' headers, counted, and the notes where a header called for a decision."""
    counted = [
        (meaning, html.escape(str(value)), f"{n:,}") for name, meaning in HEADER.items() for value, n in good[name].value_counts().items()
    ]
    parts = [html.folded("What the scans' headers say", html.table(("of the header", "found", "scans"), counted))]
    noted = good[good["header_notes"].notna()]
    if len(noted):
        rows = [(html.escape(row.participant_id), html.escape(row.header_notes)) for row in noted.head(NOTED).itertuples()]
        more = f", the first {NOTED} of them" if len(noted) > NOTED else ""
        title = f"Scans whose header called for a decision: {len(noted):,}{more}"
        parts.append(html.folded(title, html.table(("scan", "what was decided"), rows)))
    return parts


def summary(scans: pd.DataFrame) -> str:
    """Return measures of all scans that may be published: mean and spread of many, no extremes, no picture, no name and no reason."""
    good = scans[scans["status"] == "ok"]
    if len(good) < LEAST_SCANS:
        return ""
    rows = [
        (name, *(f"{value:.{DIGITS - 1}g}" for value in (good[column].mean(), good[column].std(ddof=1))))
        for column, name in MEASURES.items()
    ]
    text = (
        f"The model was trained and tested on {len(good):,} scans; {len(scans) - len(good):,} more could not be used. How preprocessing "
        "measured them, as mean and standard deviation; no scan is shown."
    )
    return html.section("Were the scans read right?", html.paragraph(text), html.table(("measure", "mean", "standard deviation"), rows))


def shown(scans: pd.DataFrame, seed: int) -> int:
    """Return the number of scans of which `chapter` shows pictures."""
    return len(_chosen(scans[scans["status"] == "ok"], seed))


def _chosen(good: pd.DataFrame, seed: int) -> pd.DataFrame:
    flagged = good[good["flags"].notna()].sort_values("similarity").head(SHOWN)
    others = good[good["flags"].isna()]
    drawn = np.random.default_rng([seed, 71]).permutation(len(others))[: max(SHOWN // 2, SHOWN - len(flagged))]
    return pd.concat([flagged.head(SHOWN - len(drawn)), others.iloc[np.sort(drawn)]])


def _strip(row: object, grid: Grid) -> str:
    volume = read_volume(Path(row.volume), grid)  # type: ignore[attr-defined]
    flags = "" if pd.isna(row.flags) else f": {row.flags}"  # type: ignore[attr-defined]
    name = Path(row.volume).name.removesuffix("_T1w.nii.gz")  # type: ignore[attr-defined]
    picture = html.image(figures.grey_png(figures.strip(volume, grid)), "three planes of a scan")
    return html.figure(picture, f"{name}, similarity {html.number(row.similarity, 2)}{flags}", "real")  # type: ignore[attr-defined]
