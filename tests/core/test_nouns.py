"""Grid, rows, covariates and files: the small truths that everything else stands on."""

import numpy as np
import pytest

from brainldm.core.covariates import Ranges, covariate_array, ranges_of
from brainldm.core.errors import DataError
from brainldm.core.files import atomic, sha256, write_json
from brainldm.core.grid import Grid
from brainldm.core.rows import batch_names, participant_id, repeated, shard_names, shard_rows

GRID = Grid(shape=(32, 40, 32), spacing_mm=5.0, center_mm=(0, -17, 6))


def test_the_middle_of_the_grid_is_its_centre():
    middle = (np.array(GRID.shape) - 1) / 2
    assert GRID.affine @ [*middle, 1] == pytest.approx([0, -17, 6, 1])


def test_a_volume_off_the_grid_is_named():
    GRID.check("a.nii.gz", (32, 40, 32), GRID.affine)
    with pytest.raises(DataError, match=r"a\.nii\.gz.*\(32, 40, 32\).*\(32, 40, 31\)"):
        GRID.check("a.nii.gz", (32, 40, 31), GRID.affine)
    with pytest.raises(DataError, match="affine"):
        GRID.check("a.nii.gz", (32, 40, 32), GRID.affine + 0.1)


@pytest.mark.parametrize(("n_rows", "per_shard"), [(1, 4), (8, 4), (9, 4), (1000, 250)])
def test_shards_cover_every_row_once(n_rows, per_shard):
    rows = [row for name in shard_names(n_rows, per_shard) for row in shard_rows(name)]
    assert rows == list(range(n_rows))


def test_growth_adds_shards_and_renames_none():
    assert set(shard_names(1000, 250)) < set(shard_names(100_000, 250))


@pytest.mark.parametrize("name", ["0-5", "000009-000001", "../../etc", "000000-000009x"])
def test_a_bad_shard_name_is_refused(name):
    with pytest.raises(DataError, match="shard"):
        shard_rows(name)


def test_names_of_batches_and_participants():
    assert batch_names(201, 100) == ["000", "001", "002"]
    assert participant_id(0) == "sub-000001"
    assert repeated("--qc", ["a b", "c"]) == "--qc 'a b' --qc c"


def test_covariates_scale_to_the_training_range_and_are_not_clamped():
    table = {"sex": ["F", "M"], "age_years": [44, 82], "ventricles_ml": [7, 171], "brain_ml": [1144, 1793]}
    ranges = ranges_of(covariate_array(table), "t.tsv")
    assert ranges.scale(covariate_array(table)).tolist() == [[0, 0, 0, 0], [1, 1, 1, 1]]
    outside = Ranges((0, 44, 10, 1000), (1, 82, 110, 2000)).scale(np.array([1, 120, -40, 3000]))
    assert outside.tolist() == [1, 2, -0.5, 2]


def test_a_constant_covariate_is_named():
    table = {"sex": ["F", "F"], "age_years": [44, 82], "ventricles_ml": [7, 171], "brain_ml": [1144, 1793]}
    with pytest.raises(DataError, match=r"t\.tsv.*sex"):
        ranges_of(covariate_array(table), "t.tsv")


def test_an_interrupted_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, 1)
    before = sha256(path)

    def interrupted():
        with atomic(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert sha256(path) == before
    assert list(tmp_path.iterdir()) == [path]
