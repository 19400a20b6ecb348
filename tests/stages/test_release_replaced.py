"""The stage release replaces nothing but an earlier release: not a user's files, and nothing that a link leads to."""

import os
import shutil
from pathlib import Path

import pytest
from release_files import digests
from typer.testing import CliRunner, Result
from verbs import MINE, _released, make_inputs, state

from brainldm.__main__ import application
from brainldm.core.errors import OutputError

USERS = ("notes.txt", ".git/config", "sub-000001/anat/mine.nii.gz", "code/a/b.py", "empty/", "link", "README.md")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


def refused(result: Result) -> str:
    assert isinstance(result.exception, OutputError), f"{result.output}\n{result.exception!r}"
    assert "\n" not in str(result.exception)
    return str(result.exception)


def release(inputs: Path, out: Path, overwrite: bool = False) -> Result:
    words = ["release", *_released(inputs / "made"), "--out", out, *(["--overwrite"] if overwrite else [])]
    return CliRunner().invoke(application("release"), [str(word) for word in words])


@pytest.fixture
def earlier(inputs: Path, tmp_path: Path) -> Path:
    """A release that is there already, without the checksums, as Snakemake leaves it when it makes them again."""
    shutil.copytree(inputs / "made/release", tmp_path / "release")
    (tmp_path / "release/checksums.sha256").unlink()
    return tmp_path / "release"


def test_an_earlier_release_is_replaced(earlier: Path, inputs: Path, tmp_path: Path) -> None:
    result = release(inputs, earlier / "checksums.sha256")
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    assert digests(earlier) == digests(inputs / "made/release")
    assert os.listdir(tmp_path) == ["release"]


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", USERS)
def test_a_release_with_a_users_files_is_left_as_it_is(earlier: Path, inputs: Path, name: str, overwrite: bool, tmp_path: Path) -> None:
    path = earlier / name
    (tmp_path / "victim").write_bytes(MINE)
    if name in ("link", "README.md"):
        path.unlink(missing_ok=True)
        path.symlink_to(tmp_path / "victim")
    elif name.endswith("/"):
        path.mkdir()
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(MINE)
    before = state(tmp_path)
    assert name.rstrip("/") in refused(release(inputs, earlier / "checksums.sha256", overwrite))
    assert state(tmp_path) == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("kept", [["covariates.parquet"], ["covariates.parquet", "README.md", "dataset_description.json"], []])
def test_a_table_alone_makes_no_release(earlier: Path, inputs: Path, kept: list[str], overwrite: bool, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    for name in kept:
        shutil.copy(earlier / name, mine / name)
    if not kept:
        (mine / "covariates.parquet").write_bytes(MINE)
    before = state(tmp_path)
    refused(release(inputs, mine / "checksums.sha256", overwrite))
    assert state(tmp_path) == before


def test_an_edited_text_of_a_release_needs_overwrite(inputs: Path, tmp_path: Path) -> None:
    made = tmp_path / "release"
    shutil.copytree(inputs / "made/release", made)
    (made / "README.md").write_bytes(MINE)
    before = state(tmp_path)
    assert "README.md changed" in refused(release(inputs, made / "checksums.sha256"))
    assert state(tmp_path) == before
    assert release(inputs, made / "checksums.sha256", overwrite=True).exit_code == 0
    assert digests(made) == digests(inputs / "made/release")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_leads_no_release_elsewhere(earlier: Path, inputs: Path, overwrite: bool, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(earlier)
    (tmp_path / "file").write_bytes(MINE)
    before = state(tmp_path)
    for out in ("link", "file", "not/../link"):
        refused(release(inputs, tmp_path / out / "checksums.sha256", overwrite))
        assert state(tmp_path) == before
