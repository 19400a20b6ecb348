"""Rulers behind one interface: the project's own, SynthSeg's format, and a command that behaves as mri_synthseg."""

import sys
from pathlib import Path

import keras_files
import numpy as np
import pytest
import torch
import yaml

from brainldm.core.config import parse
from brainldm.core.errors import DataError
from brainldm.core.grid import Grid
from brainldm.core.labels import DEMO, NAMES
from brainldm.models import checkpoint, ruler, segmenter
from brainldm.models.training import make_fabric

CONFIG = parse(yaml.safe_load((Path(__file__).parents[1] / "tiny/config.yaml").read_text()))
GRID = Grid(shape=(16, 24, 16), spacing_mm=10.0, center_mm=(0, -17, 7))
# Labels by brightness: half-bright voxels are left lateral ventricle, brighter ones white matter; one image a line of the table.
STAND_IN = f"""#!{sys.executable}
import sys
from pathlib import Path
import nibabel as nib, numpy as np
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
given, made = Path(options["--i"]), Path(options["--o"])
made.mkdir()
rows = ["subject,total intracranial,left cerebral white matter,left lateral ventricle,left inferior lateral ventricle,"
        "right lateral ventricle,right inferior lateral ventricle,csf"]
for path in sorted(given.iterdir(), reverse=True):
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    labels = np.where(values > 0.7, 2, np.where(values > 0.3, 4, 0)).astype(np.int32)
    nib.save(nib.Nifti1Image(labels, image.affine), made / path.name.replace(".nii.gz", "_synthseg.nii.gz"))
    voxel = abs(np.linalg.det(image.affine[:3, :3]))
    rows.append(f"{{path.name.split('.')[0]}},0,{{(labels == 2).sum() * voxel}},{{(labels == 4).sum() * voxel}},0,0,0,7000")
Path(options["--vol"]).write_text("\\n".join(rows) + "\\n")
"""


def command(folder: Path, text: str) -> Path:
    path = folder / "mri_synthseg"
    path.write_text(text)
    path.chmod(0o755)
    return path


def images() -> torch.Tensor:
    """Two images: 2 and 3 voxels of ventricle, 5 and 7 of white matter."""
    volumes = torch.zeros(2, 1, *GRID.shape)
    for volume, (n_ventricle, n_white) in zip(volumes, ((2, 5), (3, 7)), strict=True):
        volume[0, 4, 4, :n_ventricle] = 0.5
        volume[0, 8, 4, :n_white] = 1.0
    return volumes


def fabric() -> ruler.Fabric:
    return make_fabric("cpu", "32-true", 0)


def test_a_command_measures_each_image_in_its_place(tmp_path: Path) -> None:
    found = ruler.load(command(tmp_path, STAND_IN), GRID, fabric()).segment(images())
    assert found.label_ml[4] == pytest.approx([2, 3])  # a voxel of 10 mm is 1 mL
    assert found.label_ml[2] == pytest.approx([5, 7])
    assert [(found.labels == label).sum((1, 2, 3)).tolist() for label in (2, 4)] == [[5, 7], [2, 3]]
    assert np.allclose(found.affine, GRID.affine)
    again = ruler.volumes_ml(ruler.load(command(tmp_path, STAND_IN), GRID, fabric()), images())
    assert again["ventricles_ml"] == pytest.approx([2, 3])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\necho 'no licence' >&2\nexit 3\n", r"found 3.*\nno licence"),
        ("#!/bin/sh\nexit 0\n", "of 2 images, found none that can be read"),
        (STAND_IN.replace("rows.append", "continue\n    rows.append"), "found 2 maps and 0 rows"),
    ],
)
def test_a_command_that_fails_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        ruler.load(command(tmp_path, text), GRID, fabric()).segment(images())


def test_what_is_no_ruler_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing: expected segmenter to be a checkpoint"):
        ruler.load(tmp_path / "nothing", GRID, fabric()).segment(images())
    with pytest.raises(DataError, match=r"none\.h5"):
        ruler.load(tmp_path / "none.h5", GRID, fabric())


def test_synthseg_weights_measure_too_and_1_0_is_refused(tmp_path: Path) -> None:
    small = Grid(shape=(32, 32, 32), spacing_mm=1.0, center_mm=(0, 0, 0))
    weights = {n: keras_files.write(tmp_path / f"{n}.h5", keras_files.random_layers((2, 3, 4), labels=n)) for n in (32, 33)}
    found = ruler.load(weights[33], small, fabric()).segment(torch.rand(2, 1, *small.shape))
    assert found.labels.shape == (2, *small.shape)
    assert set(found.label_ml) == set(NAMES) - {0}
    assert sum(found.label_ml.values()) == pytest.approx((found.labels > 0).sum((1, 2, 3)) / 1000, abs=20)
    with pytest.raises(DataError, match=r"32\.h5: expected SynthSeg 2\.0, found 1\.0"):
        ruler.load(weights[32], small, fabric())


def test_the_projects_own_gives_maps_and_volumes_that_agree(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = segmenter.build(CONFIG.train_segmenter, GRID, DEMO)
    with torch.no_grad():
        network.head[-1].weight.mul_(1e5)  # posteriors of 0 or 1, so that volumes are counts of voxels
    checkpoint.save(tmp_path / "own.safetensors", network.state_dict(), network.spec)
    found = ruler.load(tmp_path / "own.safetensors", GRID, fabric()).segment(torch.rand(2, 1, *GRID.shape))
    assert set(found.label_ml) == set(DEMO) <= set(NAMES)
    for label in DEMO:
        assert found.label_ml[label] == pytest.approx((found.labels == label).sum((1, 2, 3)) * GRID.voxel_ml, abs=40)
    assert sum(found.label_ml.values()) == pytest.approx(np.prod(GRID.shape) * GRID.voxel_ml)
