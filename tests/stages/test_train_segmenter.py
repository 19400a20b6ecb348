"""The segmenter learns from label maps alone: those of a folder, those of a table, and what is no label map is refused by name."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from brainldm.core.errors import DataError
from brainldm.core.files import write_json
from brainldm.models import segmenter
from brainldm.stages.train_segmenter import main

SHARED = Path(__file__).parents[2].parent / "shared/data/synthseg/labels"
GRID = {"shape": [16, 24, 16], "spacing_mm": 10.0, "center_mm": [0, -17, 7]}
SIZES = {"init_filters": 16, "levels": 2, "space_to_depth": 2, "batch_size": 2, "learning_rate": 5e-3, "warmup_steps": 2}
NARROW = {"any_contrast": 0.0, "rotation_deg": 5, "scaling": 0.1, "warp_mm": 2, "bias": 0.2, "gamma": 0.2}


def write_map(path: Path, seed: int, labels: tuple[int, ...] = (3, 2, 42, 41, 24)) -> None:
    """Two half-ellipsoids of grey around white matter in a rim of CSF, at 4 mm, in MNI pose, of a size of its own."""
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, side) for side in (40, 52, 40)), indexing="ij")
    radius = np.sqrt(x**2 + y**2 + z**2) / np.random.default_rng(seed).uniform(0.9, 1.1)
    left, right = (np.where(radius < 0.5, white, grey) for grey, white in (labels[:2], labels[2:4]))
    values = np.where(radius < 0.75, np.where(x < 0, left, right), np.where(radius < 0.85, labels[4], 0))
    affine = np.diag([4.0, 4, 4, 1])
    affine[:3, 3] = np.array([0, -17, 6]) - 2 * (np.array(values.shape) - 1)
    nib.save(nib.Nifti1Image(values.astype(np.int16), affine), path)


def train(folder: Path, labels: Path, grid: dict[str, Any] = GRID, **options: Any) -> tuple[segmenter.Segmenter, pd.DataFrame]:
    section = folder / "section.json"
    own = {**SIZES, **NARROW, "steps": 300, "align": False, "held_out_maps": 1, **options}
    write_json(section, {"stage": "train_segmenter", "seed": 1, "precision": "32-true", "grid": grid, "section": own})
    main(section, labels, folder / "out/model.safetensors", "cpu")
    return segmenter.load(folder / "out/model.safetensors"), pd.read_csv(folder / "out/dice.tsv", sep="\t", index_col="label")


def test_it_learns_from_a_folder_of_label_maps(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    for seed, ending in enumerate(("nii", "nii.gz", "nii", "nii.gz")):
        write_map(tmp_path / f"maps/{seed}.{ending}", seed)
    network, dice = train(tmp_path, tmp_path / "maps")
    assert network.labels == (0, 2, 3, 24, 41, 42)
    assert dice["n"].tolist() == [8] * 6
    assert dice["dice"][[2, 3, 41, 42]].min() > 0.5  # sides and tissues are told apart


def test_a_table_names_them_too_and_a_map_that_lies_askew_is_aligned(tmp_path: Path) -> None:
    for seed in range(2):
        write_map(tmp_path / f"{seed}.nii.gz", seed)
    pd.DataFrame({"dseg": ["0.nii.gz", "1.nii.gz"]}).to_csv(tmp_path / "labels.tsv", sep="\t", index=False)
    network, _ = train(tmp_path, tmp_path / "labels.tsv", steps=2, align=True)
    assert torch.isfinite(network(torch.rand(1, 1, 16, 24, 16))).all()


def test_what_is_no_label_map_is_refused_by_name(tmp_path: Path) -> None:
    folder = tmp_path / "maps"
    folder.mkdir()
    with pytest.raises(DataError, match=r"maps: expected more than 1 label map\(s\), which are held out, found 0"):
        train(tmp_path, folder)
    write_map(folder / "a.nii", 0)
    write_map(folder / "b.nii", 1, labels=(3, 2, 42, 41, 77))
    with pytest.raises(DataError, match=r"b\.nii: .*other labels \[77\]"):
        train(tmp_path, folder)
    (folder / "b.nii").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.nii: expected a label map"):
        train(tmp_path, folder)
    assert not (tmp_path / "out/model.safetensors").exists()


@pytest.mark.slow
def test_real_label_maps_teach_the_ventricles_of_maps_held_out(tmp_path: Path) -> None:
    if not SHARED.is_dir():
        pytest.skip(f"needs SynthSeg's training label maps in {SHARED}")
    grid = {"shape": [40, 56, 40], "spacing_mm": 4.0, "center_mm": [0, -17, 7]}
    sizes = {"init_filters": 32, "levels": 3, "learning_rate": 4e-3, "warmup_steps": 20, "thickest_mm": 2}
    _, dice = train(tmp_path, SHARED, grid, steps=900, align=True, held_out_maps=2, **sizes)
    assert dice["dice"][[4, 43]].min() >= 0.7  # 0.78 and 0.80 measured; benchmarks/segmenter.py reaches 0.88 in an hour
