"""A batch killed half-way and started again: finished scans stay as they are, none is half-written."""

import gzip
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from held import held_command

from brainldm.core.config import Cohort, Preprocess
from brainldm.core.files import write_json
from brainldm.core.grid import Grid
from brainldm.core.requeue import REQUEUE
from brainldm.formats.nifti import encode_native, read_volume, write_bytes
from brainldm.imaging.anatomy import anatomy_of
from brainldm.imaging.native import acquire
from brainldm.imaging.population import draw_subject

N_SCANS = 20
GRID = Grid(shape=(20, 24, 20), spacing_mm=8.0, center_mm=(0.0, -17.0, 7.0))
COHORT = Cohort(
    n_subjects=N_SCANS,
    n_label_maps=1,
    held_out_fraction=0.25,
    spacing_mm=(5, 6),
    thick_slice_fraction=0,
    thick_slice_mm=(4, 6),
    noise=(0.01, 0.03),
)


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """Twenty demo scans with their manifest; the command that preprocesses them into tmp_path/out."""
    lines = ["participant_id\tt1w\tage_years\tsex\tsplit"]
    for index in range(N_SCANS):
        subject = draw_subject(COHORT, 3, index)
        native = acquire(anatomy_of(subject.brain), subject.acquisition)
        write_bytes(tmp_path / f"{index}.nii.gz", encode_native(native.t1w, native.affine, "demo"))
        lines.append(f"{subject.participant_id}\t{index}.nii.gz\t{subject.age_years}\t{subject.sex}\t{subject.split}")
    (tmp_path / "manifest.tsv").write_text("\n".join([*lines, ""]))
    own = Preprocess(registration_spacing_mm=6.0, scans_per_batch=N_SCANS, intensity_percentiles=(0.0, 99.8))
    grid, values = GRID.model_dump(mode="json"), own.model_dump(mode="json")
    write_json(tmp_path / "section.json", {"stage": "preprocess", "seed": 1, "precision": "32-true", "grid": grid, "section": values})
    options = {"--section": "section.json", "--manifest": "manifest.tsv", "--out": "out/qc.tsv"}
    paths = [str(word) for option, name in options.items() for word in (option, tmp_path / name)]
    return [sys.executable, "-m", "brainldm", "preprocess", *paths, "--batch", "000"]


def _written(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("sub-*")}


@pytest.mark.parametrize(("how", "status"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGTERM, REQUEUE)])
def test_finished_scans_survive_a_kill_and_are_not_redone(command: list[str], tmp_path: Path, how: int, status: int) -> None:
    out = tmp_path / "out"
    held = held_command(command, tmp_path / "hold", "sub-*.json", nth=N_SCANS // 2 + 1)
    process = subprocess.Popen(held, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while len(list(out.glob("sub-*.json"))) < N_SCANS // 2 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(how)
    (tmp_path / "hold").unlink()
    assert process.wait() == status
    assert how == signal.SIGKILL or not list(out.glob(".tmp*"))
    before = _written(out)
    finished = {name.removesuffix("_from-T1w_to-MNI152_mode-image_xfm.json") for name in before if name.endswith(".json")}
    assert N_SCANS // 2 <= len(finished) < N_SCANS
    assert not (out / "qc.tsv").exists()
    for name, (_, content) in before.items():
        if name.endswith(".gz"):
            nib.Nifti1Image.from_bytes(gzip.decompress(content))
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = _written(out)
    kept = {name: written for name, written in before.items() if name.split("_")[0] in finished}
    assert {name: after[name] for name in kept} == kept
    assert not list(out.glob(".tmp*"))
    table = pd.read_csv(out / "qc.tsv", sep="\t")
    assert len(table) == N_SCANS
    assert (table["status"] == "ok").all()
    assert all(np.ptp(read_volume(out / name, GRID)) == 1 for name in table["volume"])
