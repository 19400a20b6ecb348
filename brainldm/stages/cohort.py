"""Make the embedded demo population: a BIDS raw dataset, a manifest, the truth kept apart, and label maps for the segmenter."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer
from rich.progress import track

from brainldm.core.config import Cohort, read_section
from brainldm.core.files import write_json
from brainldm.core.grid import Grid
from brainldm.core.labels import summary_ml
from brainldm.formats.bids import BIDS_VERSION
from brainldm.formats.nifti import encode_labels, encode_native, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.imaging.anatomy import anatomy_of
from brainldm.imaging.native import acquire, label_map
from brainldm.imaging.population import draw_label_map, draw_subject
from brainldm.imaging.template import template

LABEL_GRID = Grid(shape=(96, 116, 96), spacing_mm=2.0, center_mm=(0.0, -17.0, 6.0))  # holds the largest head
DESCRIPTION = "brainldm embedded population"


def main(
    section: Annotated[Path, typer.Option(help="section file")],
    out: Annotated[Path, typer.Option(help="manifest to write; the scans go to rawdata/ beside it")],
    truth: Annotated[Path, typer.Option(help="TSV of true volumes and poses to write; true label maps go to derivatives/truth/ beside it")],
    labels: Annotated[Path, typer.Option(help="TSV of label maps to write; the maps go to derivatives/labels/ beside it")],
    threads: Annotated[int, typer.Option(help="processes", min=1)] = 1,
) -> None:
    """Write every subject and every label map, then the tables."""
    given = read_section(section, "cohort")
    options = given.own(Cohort)
    template()  # before the workers start, so that they share it
    with ProcessPoolExecutor(threads, multiprocessing.get_context("fork"), _end_with_parent) as pool:
        subject = partial(_write_subject, options, given.seed, out.parent, truth.parent)
        rows = _collect(pool.map, subject, options.n_subjects, "subjects")
        maps = _collect(pool.map, partial(_write_label_map, given.seed, labels.parent), options.n_label_maps, "label maps")
    table = pd.DataFrame(rows)
    _describe(out.parent / "rawdata", table)
    write_tsv(labels, pd.DataFrame(maps))
    write_tsv(truth, table[["participant_id", "ventricles_ml", "brain_ml", "icv_ml", "native_to_mni"]])
    write_tsv(out, table[["participant_id", "t1w", "age_years", "sex", "split"]])


def _end_with_parent() -> None:
    """Of a worker: end when the process that gives out the work was killed, rather than to wait for it, and keep its log open, for ever."""

    def follow() -> None:
        if parent := multiprocessing.parent_process():
            parent.join()
            os._exit(1)

    threading.Thread(target=follow, daemon=True).start()


def _collect(run: Callable[..., Iterable[Any]], work: Callable[[int], Any], n_items: int, name: str) -> list[Any]:
    return list(track(run(work, range(n_items)), description=f"cohort: {name}", total=n_items))


def _write_subject(options: Cohort, seed: int, raw: Path, derivatives: Path, index: int) -> dict[str, Any]:
    """Write the scan and the true label map of one subject; its row of all tables."""
    subject = draw_subject(options, seed, index)
    native = acquire(anatomy_of(subject.brain), subject.acquisition)
    name = f"{subject.participant_id}/anat/{subject.participant_id}"
    t1w = f"rawdata/{name}_T1w.nii.gz"
    write_bytes(raw / t1w, encode_native(native.t1w, native.affine, DESCRIPTION))
    dseg = derivatives / "derivatives" / "truth" / f"{name}_dseg.nii.gz"
    write_bytes(dseg, encode_native(native.labels, native.affine, DESCRIPTION))
    volumes = {label: np.array(ml) for label, ml in native.label_ml.items()}
    return {
        "participant_id": subject.participant_id,
        "t1w": t1w,
        "age_years": subject.age_years,
        "sex": subject.sex,
        "split": subject.split,
        **{column: round(float(ml), 3) for column, ml in summary_ml(volumes).items()},
        "native_to_mni": " ".join(f"{value:.9g}" for value in native.to_mni.ravel()),
    }


def _write_label_map(seed: int, folder: Path, index: int) -> dict[str, str]:
    """Write one label map in MNI space; its row of the table."""
    dseg = f"derivatives/labels/label-{index + 1:02d}_dseg.nii.gz"
    labels = label_map(anatomy_of(draw_label_map(seed, index)), LABEL_GRID.shape, LABEL_GRID.affine)
    write_bytes(folder / dseg, encode_labels(labels, LABEL_GRID.affine, DESCRIPTION))
    return {"dseg": dseg}


def _describe(raw: Path, table: pd.DataFrame) -> None:
    """The files at the top of a BIDS raw dataset."""
    generated = [{"Name": "brainldm cohort"}]
    description = {"Name": DESCRIPTION, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw", "License": "CC0", "GeneratedBy": generated}
    write_json(raw / "dataset_description.json", description)
    participants = table[["participant_id", "age_years", "sex"]].rename(columns={"age_years": "age"})
    write_tsv(raw / "participants.tsv", participants)
    columns = {
        "age": {"Description": "age of the simulated participant", "Units": "year"},
        "sex": {"Description": "sex of the simulated participant", "Levels": {"F": "female", "M": "male"}},
    }
    write_json(raw / "participants.json", columns)
