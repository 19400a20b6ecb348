"""`brainldm score` with the packaged models: volumes of any place are measured alike, and a set is its own reference."""

import json
import shutil

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

import brainldm
from brainldm.commands.score import main
from brainldm.core.errors import DataError
from brainldm.formats.nifti import write_image
from brainldm.formats.tables import read_tsv

VENTRICLES_ML = (20, 40, 70)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three brains of the packaged model, on its grid."""
    folder, model = tmp_path_factory.mktemp("made"), brainldm.load(device="cpu", steps=10, batch_size=1)
    for ml in VENTRICLES_ML:
        write_image(folder / f"v{ml}.nii.gz", model.sample(age_years=65, sex="F", ventricles_ml=ml, brain_ml=1560, index=ml)[0])
    return folder


def score(folder, out, **options):
    pd.DataFrame({"path": sorted(path.name for path in folder.iterdir()), "ventricles_ml": VENTRICLES_ML}).to_csv(out.with_suffix(".csv"))
    main(folder, out, table=out.with_suffix(".csv"), device="cpu", **options)
    return json.loads((out / "score.json").read_text()), read_tsv(out / "volumes.tsv")


@pytest.fixture(scope="module")
def scored(made, tmp_path_factory):
    out = tmp_path_factory.mktemp("scored") / "out"
    return out, *score(made, out)


def test_volumes_on_the_grid_are_taken_as_they_are_and_obey(made, scored):
    _, report, table = scored
    assert report["ventricles_r"] > 0.95
    assert table["measured_ventricles_ml"].to_numpy() == pytest.approx(VENTRICLES_ML, rel=0.3)
    assert table["file"].tolist() == sorted(path.name for path in made.iterdir())
    assert (table["placed"] == "as it is").all()
    assert (table["intensities"] == "as they are").all()
    for name, kept in zip(sorted(made.iterdir()), table["path"], strict=True):
        assert np.array_equal(nib.load(name).dataobj, nib.load(kept).dataobj)
    assert report["fid_reference_n"] == 3
    assert report["fid_reference_n_real"] == 288
    assert "ms_ssim_reconstruction" in report
    assert all(row["limit"] is not None for row in report["verdicts"].values())


def test_a_set_is_no_distance_from_itself_and_a_second_call_reads_what_it_placed(made, scored, tmp_path):
    out, report, _ = scored
    shutil.copytree(out / "volumes", tmp_path / "out/volumes")  # as a call that was interrupted leaves them
    places = {path: path.stat().st_mtime_ns for path in (tmp_path / "out/volumes").iterdir()}
    again, _ = score(made, tmp_path / "out", reference=out / "reference.npz")
    assert again["fid_reference"] == pytest.approx(0, abs=1e-6)
    assert again["ms_ssim"] == report["ms_ssim"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out/volumes").iterdir()} == places
    with pytest.raises(DataError, match=r"the folder holds reference\.npz, score\.json, volumes\.tsv"):
        score(made, tmp_path / "out")
    score(made, tmp_path / "out", overwrite=True)


def test_the_same_brains_moved_and_scaled_are_measured_nearly_alike(made, scored, tmp_path):
    """Turned by 15 degrees, stored back to front, in the scanner's units: registered and resampled, ventricles stay."""
    _, _, table = scored
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.26), -np.sin(0.26)], [np.sin(0.26), np.cos(0.26)]]
    (tmp_path / "moved").mkdir()
    for path in made.iterdir():
        image = nib.load(path)
        flipped = image.affine @ np.array([[-1, 0, 0, image.shape[0] - 1], *np.eye(4)[1:]])
        nib.save(nib.Nifti1Image(900 * image.get_fdata(dtype=np.float32)[::-1], turn @ flipped), tmp_path / "moved" / path.name)
    _, moved = score(tmp_path / "moved", tmp_path / "out")
    assert (moved["placed"] == "registered").all()
    assert moved["intensities"].str.fullmatch(r"-?\d+(\.\d+)? to \d+(\.\d+)? became 0 to 1").all()
    assert moved["measured_ventricles_ml"].to_numpy() == pytest.approx(table["measured_ventricles_ml"].to_numpy(), rel=0.25, abs=4)


def test_one_volume_is_too_few(tmp_path):
    (tmp_path / "a.nii.gz").write_bytes(b"volume")
    with pytest.raises(DataError, match="expected at least 2 volumes, found 1"):
        main(tmp_path, tmp_path / "out")
