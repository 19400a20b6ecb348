"""The stage `cohort`: the files that it promises, the same bytes again whatever the number of processes."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml

from brainldm.core.config import parse, section_json
from brainldm.core.files import sha256
from brainldm.core.labels import DEMO
from brainldm.formats.tables import read_tsv
from brainldm.stages.cohort import main

TINY = Path(__file__).parents[1] / "tiny" / "config.yaml"


@pytest.fixture(scope="module")
def section(tmp_path_factory):
    values = yaml.safe_load(TINY.read_text())
    values["cohort"] |= {"n_subjects": 4, "n_label_maps": 2}
    path = tmp_path_factory.mktemp("configure") / "cohort.json"
    path.write_text(section_json(parse(values), "cohort"))
    return path


def run(section, folder, threads):
    main(section, folder / "manifest.tsv", folder / "truth.tsv", folder / "labels.tsv", threads)
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def cohort(section, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    return folder, run(section, folder, 2)


def test_a_rerun_writes_the_same_bytes(section, cohort, tmp_path):
    folder, hashes = cohort
    assert run(section, folder, 1) == hashes
    assert run(section, tmp_path, 2) == hashes


def test_raw_data_is_bids(cohort):
    folder, hashes = cohort
    raw = folder / "rawdata"
    assert json.loads((raw / "dataset_description.json").read_text())["DatasetType"] == "raw"
    participants = read_tsv(raw / "participants.tsv", ["participant_id", "age", "sex"])
    assert set(json.loads((raw / "participants.json").read_text())) == {"age", "sex"}
    assert len(participants) == 4
    for name in participants["participant_id"]:
        assert f"rawdata/{name}/anat/{name}_T1w.nii.gz" in hashes


def test_manifest_truth_and_images_agree(cohort):
    folder, _ = cohort
    manifest = read_tsv(folder / "manifest.tsv", ["participant_id", "t1w", "age_years", "sex", "split"])
    truth = read_tsv(folder / "truth.tsv", ["participant_id", "ventricles_ml", "brain_ml", "icv_ml", "native_to_mni"])
    assert manifest["participant_id"].tolist() == truth["participant_id"].tolist()
    for row, true in zip(manifest.itertuples(), truth.itertuples(), strict=True):
        image = nib.load(folder / row.t1w)
        labels = nib.load(folder / f"derivatives/truth/{row.participant_id}/anat/{row.participant_id}_dseg.nii.gz")
        assert image.get_data_dtype() == np.int16
        assert np.allclose(image.affine, labels.affine)
        assert np.allclose(image.get_qform(), image.get_sform(), atol=1e-3)
        values = np.asarray(labels.dataobj)
        assert set(np.unique(values)) <= set(DEMO)
        assert (values > 0).sum() * np.prod(image.header.get_zooms()) / 1000 == pytest.approx(true.icv_ml, rel=0.02)
        matrix = np.array(true.native_to_mni.split(), float).reshape(4, 4)
        assert np.allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-6)


def test_label_maps_lie_in_mni_space_at_2_mm(cohort):
    folder, _ = cohort
    for dseg in read_tsv(folder / "labels.tsv", ["dseg"])["dseg"]:
        image = nib.load(folder / dseg)
        assert image.header.get_zooms() == (2, 2, 2)
        assert set(np.unique(image.dataobj)) == set(DEMO)
