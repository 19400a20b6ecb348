from pathlib import Path

import pandas as pd
import pytest

from brainldm.core.errors import DataError
from brainldm.core.files import write_json
from brainldm.formats.tables import write_tsv
from brainldm.stages.covariates import main

GRID = {"shape": [16, 24, 16], "spacing_mm": 10.0, "center_mm": [0, -17, 7]}


class Batches:
    """Batches of two and of three scans, of which the third scan is bad."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.qc, self.volumes = ([folder / stage / batch / name for batch in ("000", "001")] for stage, name in FILES)
        scans = pd.DataFrame(
            {
                "participant_id": ["sub-1", "sub-2", "sub-3", "sub-4", "sub-5"],
                "session": None,
                "split": ["train", "test", "train", "train", "train"],
                "age_years": [50.0, 60.0, 70.0, 80.0, 65.0],
                "sex": ["F", "M", "F", "M", "F"],
                "status": ["ok", "ok", "bad", "ok", "ok"],
                "volume": ["sub-1_T1w.nii.gz", "sub-2_T1w.nii.gz", None, "sub-4_T1w.nii.gz", "sub-5_T1w.nii.gz"],
                "ventricles_ml": [20.0, 30.0, 40.0, 50.0, 60.0],
                "brain_ml": [1500.0, 1400.0, 1300.0, 1200.0, 1100.0],
            }
        )
        found = scans[scans["status"] == "ok"][["volume"]].assign(
            **{
                "total intracranial": 1.0,
                "left lateral ventricle": [1000.0, 2000.0, 4000.0, 5000.0],
                "left cerebral cortex": [9e5, 9.1e5, 9.2e5, 9.3e5],
                "csf": 1e5,
            }
        )
        for batch, path in enumerate(self.qc):
            write_tsv(path, scans.iloc[[slice(2), slice(2, None)][batch]])
        write_tsv(self.volumes[0], found.iloc[:2])
        write_tsv(self.volumes[1], found.iloc[2:])

    def run(self, volumes: str, segment: list[Path]) -> pd.DataFrame:
        section = self.folder / "section.json"
        write_json(section, {"stage": "covariates", "seed": 1, "precision": "auto", "grid": GRID, "section": {"volumes": volumes}})
        main(section, self.qc, self.folder / "covariates" / "covariates.tsv", segment)
        return pd.read_csv(self.folder / "covariates" / "covariates.tsv", sep="\t")


FILES = (("preprocess", "qc.tsv"), ("segment", "volumes.tsv"))


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    return Batches(tmp_path)


def test_segmented_volumes_join_the_good_scans_in_order(batches: Batches) -> None:
    table = batches.run("segmented", batches.volumes)
    assert table["participant_id"].tolist() == ["sub-1", "sub-2", "sub-4", "sub-5"]
    assert table["ventricles_ml"].tolist() == [1, 2, 4, 5]
    assert table["icv_ml"].tolist() == [1001, 1012, 1024, 1035]
    assert table["volume"].tolist()[2] == "../preprocess/001/sub-4_T1w.nii.gz"


def test_volumes_of_the_manifest_need_no_segmentation(batches: Batches) -> None:
    table = batches.run("manifest", [])
    assert table["ventricles_ml"].tolist() == [20, 30, 50, 60]
    assert table["brain_ml"].tolist() == [1500, 1400, 1200, 1100]


def test_a_scan_without_volumes_in_the_manifest_is_left_out_and_named(batches: Batches, caplog: pytest.LogCaptureFixture) -> None:
    scans = pd.read_csv(batches.qc[0], sep="\t")
    scans.loc[0, "brain_ml"] = None
    write_tsv(batches.qc[0], scans)
    assert batches.run("manifest", [])["participant_id"].tolist() == ["sub-2", "sub-4", "sub-5"]
    assert "1 scans without ventricles_ml or brain_ml (covariates.volumes: manifest): sub-1" in caplog.text


def test_a_split_without_scans_is_an_error(batches: Batches) -> None:
    write_tsv(batches.qc[0], pd.read_csv(batches.qc[0], sep="\t").assign(split="train"))
    with pytest.raises(DataError, match="of the split 'test' with status ok and with volumes, found none"):
        batches.run("segmented", batches.volumes)


def test_a_volume_that_does_not_vary_is_an_error_before_any_training(batches: Batches) -> None:
    for path in batches.qc:
        write_tsv(path, pd.read_csv(path, sep="\t").assign(ventricles_ml=20.0))
    with pytest.raises(DataError, match="expected ventricles_ml to vary over the training scans"):
        batches.run("manifest", [])


def test_volumes_of_other_scans_are_refused(batches: Batches) -> None:
    with pytest.raises(DataError, match=r"001/volumes\.tsv: expected the volumes of the good scans of .*000/qc\.tsv"):
        batches.run("segmented", batches.volumes[::-1])


def test_no_good_scan_is_an_error(batches: Batches) -> None:
    for path in batches.qc:
        write_tsv(path, pd.read_csv(path, sep="\t").assign(status="bad"))
    for path in batches.volumes:
        write_tsv(path, pd.DataFrame({"volume": []}))
    with pytest.raises(DataError, match="expected scans of the split 'train' with status ok"):
        batches.run("segmented", batches.volumes)
