"""Write a small BIDS dataset of made-up people, to try everything on: foreign names, sessions, orientations and voxel sizes."""

import logging
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from rich.console import Console
from rich.progress import track

from brainldm.core import outputs
from brainldm.core.config import Cohort
from brainldm.core.files import write_json, writing
from brainldm.formats.bids import BIDS_VERSION
from brainldm.formats.nifti import encode_native, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.imaging.anatomy import anatomy_of
from brainldm.imaging.native import acquire
from brainldm.imaging.population import draw_subject

TEXT = "brainldm example: a deformed copy of the MNI152 template, no scan of a person"
POPULATION = Cohort(
    n_subjects=1,
    n_label_maps=1,
    held_out_fraction=0.5,
    spacing_mm=(1.8, 3.5),
    thick_slice_fraction=0.3,
    thick_slice_mm=(3.5, 5.0),
    rotation_deg=20,
    noise=(0.01, 0.03),
)
TABLES = ("participants.tsv", "dataset_description.json")
STEP = 7919  # of the numbers in people's names: a prime, so that none comes twice


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder to write")],
    n: Annotated[int, typer.Option("-n", help="people", min=1, max=9999)] = 24,
    seed: Annotated[int, typer.Option(help="of the draw of people", min=0)] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """Brains without skulls, as `brainldm manifest bids` reads them; every third person has sessions."""
    folder = outputs.check_folder(folder, [*map(_scan, range(n)), *TABLES], overwrite)
    with writing(folder):
        people = [_write(folder, seed, index) for index in track(range(n), "people", console=Console(stderr=True))]
        write_tsv(folder / "participants.tsv", pd.DataFrame(people))
        description = {"Name": TEXT, "BIDSVersion": BIDS_VERSION, "DatasetType": "raw", "License": "CC0"}
        write_json(folder / "dataset_description.json", description)
    logging.info("%s: a T1w scan of each of %d people; `brainldm manifest bids %s --out scans.tsv` makes a manifest", folder, n, folder)


def _who(index: int) -> str:
    return f"sub-CC{(index + 1) * STEP % 10**6:06d}"


def _scan(index: int) -> str:
    """Where the scan of a person lies in the dataset; every third person has a session."""
    session = "ses-baseline" if index % 3 == 2 else ""
    name = "_".join(filter(None, (_who(index), session, "acq-mprage", "run-01", "T1w.nii.gz")))
    return (Path(_who(index)) / session / "anat" / name).as_posix()


def _write(folder: Path, seed: int, index: int) -> dict[str, object]:
    """Write a person's scan; their line of participants.tsv."""
    subject = draw_subject(POPULATION, seed, index)
    scan = acquire(anatomy_of(subject.brain), subject.acquisition)
    write_bytes(folder / _scan(index), encode_native(scan.t1w, scan.affine, TEXT))
    return {"participant_id": _who(index), "sex": {"F": "female", "M": "Male"}[subject.sex], "group": "control", "age": subject.age_years}
