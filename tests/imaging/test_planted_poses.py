"""Planted poses of individually deformed demo brains, and of real heads where they are at hand, are found at the recommended 2 mm."""

import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCANS = [ROOT.parent / "shared" / "data" / "scans" / f"{name}.nii.gz" for name in ("chris_t1", "spm152")]
SPACING_MM = 2.0


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "benchmarks" / "registration.py"))


@pytest.mark.slow
def test_poses_of_demo_scans_are_found_thick_slices_included(benchmark: dict[str, Any]) -> None:
    rows = list(benchmark["evaluate"](benchmark["demo_cases"](12), SPACING_MM))
    for truth in ("own_mm", "true_mm"):
        errors = [getattr(row, truth) for row in rows]
        assert np.median(errors) <= 1
        assert max(errors) <= 2
    assert not any(row.swapped for row in rows)
    assert min(row.similarity for row in rows) > 0.85


@pytest.mark.slow
@pytest.mark.parametrize("path", SCANS, ids=lambda path: path.name.split(".")[0])
def test_poses_of_a_real_head_are_found_in_the_affine_and_resampled(benchmark: dict[str, Any], path: Path) -> None:
    if not path.exists():
        pytest.skip(f"{path} is not there")
    rows = list(benchmark["evaluate"](benchmark["real_cases"](path, 6), SPACING_MM))
    assert np.median([row.own_mm for row in rows]) <= 1
    assert max(row.own_mm for row in rows) <= 2
    assert not any(row.swapped for row in rows)
    assert min(row.similarity for row in rows) > 0.75
