"""One real SLURM for all tests of this folder."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster


@pytest.fixture(scope="session")
def slurm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cluster") / "slurm"


@pytest.fixture(scope="session")
def cluster(slurm_folder: Path) -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands find the cluster."""
    if reason := slurm_cluster.missing():
        pytest.skip(reason)
    with slurm_cluster.cluster(slurm_folder) as environment:
        yield {**environment, "OMP_WAIT_POLICY": "PASSIVE"}
