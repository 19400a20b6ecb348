from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from brainldm.core.config import parse
from brainldm.core.files import write_json
from brainldm.core.grid import Grid
from brainldm.core.labels import DEMO, NAMES
from brainldm.formats.nifti import encode_volume, quantise, write_bytes
from brainldm.formats.tables import write_tsv
from brainldm.models import checkpoint, segmenter
from brainldm.stages.segment import main

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))
GRID = Grid(shape=(16, 24, 16), spacing_mm=10.0, center_mm=(0, -17, 7))


@pytest.fixture
def qc(tmp_path: Path) -> Path:
    """The QC table of three scans, of which the second is bad, and a segmenter."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"participant_id": ["sub-1", "sub-2", "sub-3"], "status": ["ok", "bad", "ok"]})
    table["volume"] = ["sub-1_T1w.nii.gz", None, "sub-3_ses-2_T1w.nii.gz"]
    for name in table["volume"].dropna():
        write_bytes(tmp_path / "qc" / name, encode_volume(quantise(rng.random(GRID.shape)), GRID, "test"))
    write_tsv(tmp_path / "qc/qc.tsv", table)
    torch.manual_seed(0)
    network = segmenter.build(CONFIG.train_segmenter, GRID, DEMO)
    checkpoint.save(tmp_path / "own.safetensors", network.state_dict(), network.spec)
    section = {"stage": "segment", "seed": 1, "precision": "32-true", "grid": GRID.model_dump(mode="json"), "section": {"batch_size": 1}}
    write_json(tmp_path / "section.json", section)
    return tmp_path / "qc/qc.tsv"


def test_every_good_scan_gets_a_label_map_and_a_row(qc: Path, tmp_path: Path) -> None:
    out = tmp_path / "out/volumes.tsv"
    main(tmp_path / "section.json", qc, tmp_path / "own.safetensors", out, "cpu")
    table = pd.read_csv(out, sep="\t")
    assert table["volume"].tolist() == ["sub-1_T1w.nii.gz", "sub-3_ses-2_T1w.nii.gz"]
    assert table.columns[1:].tolist() == ["total intracranial", *(NAMES[label] for label in DEMO if label)]
    assert (table["total intracranial"] < np.prod(GRID.shape) * 1000).all()
    for name in ("sub-1_dseg.nii.gz", "sub-3_ses-2_dseg.nii.gz"):
        image = nib.load(out.parent / name)
        assert np.allclose(image.affine, GRID.affine)
        assert set(np.unique(image.dataobj)) <= set(DEMO)


def test_a_batch_without_a_good_scan_gives_an_empty_table(qc: Path, tmp_path: Path) -> None:
    write_tsv(qc, pd.read_csv(qc, sep="\t").assign(status="bad"))
    main(tmp_path / "section.json", qc, tmp_path / "own.safetensors", tmp_path / "out/volumes.tsv", "cpu")
    assert pd.read_csv(tmp_path / "out/volumes.tsv", sep="\t").empty
