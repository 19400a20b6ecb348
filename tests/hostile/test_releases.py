"""Releases made to harm their reader: each is one error that names the file, soon, in little memory; nothing outside is touched."""

import shutil
from functools import partial
from pathlib import Path

import plain_release
import pytest
from hostile_releases import SPOILS
from watched import watched

from brainldm.commands import get
from brainldm.core.errors import DataError
from brainldm.core.findings import has_errors
from brainldm.formats.release_check import check
from brainldm.formats.released import open_release, read_volume_bytes, records

SOON_S = 10.0


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every entry, its time and size: what was touched is seen."""
    found = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_socket()]
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in found}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Releases to copy and spoil."""
    return {packaging: plain_release.make(tmp_path_factory.mktemp("sound") / "release", packaging) for packaging in ("files", "tars")}


def verify(folder: Path) -> None:
    """An error, as the command has it."""
    findings = list(check(folder))
    assert not has_errors(findings), [finding for finding in findings if finding.verdict == "error"]


@pytest.mark.parametrize("packaging", ["files", "tars"])
def test_a_sound_release_is_read(packaging: str, tmp_path: Path) -> None:
    folder = plain_release.make(tmp_path / "release", packaging)
    verify(folder)
    release = open_release(str(folder))
    assert [read_volume_bytes(release, row)[:2] for row in records(release.table)] == [b"\x1f\x8b"] * plain_release.N
    get.main(str(folder), tmp_path / "part", None, 2)
    verify(tmp_path / "part")
    listed = (tmp_path / "part/checksums.sha256").read_text().splitlines()
    kept = set(listed) & set((folder / "checksums.sha256").read_text().splitlines())
    assert {line[66:] for line in kept} >= set(get.TEXTS)


LARGE = ("4,000 bytes in 70,000 rows", "more rows than are read", "pages that unpack to 480 MB")  # some seconds to make


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in SPOILS])
def test_a_hostile_release_is_one_error(name: str, sound: dict[str, Path], tmp_path: Path) -> None:
    packaging, spoil = SPOILS[name]
    folder = Path(shutil.copytree(sound[packaging], tmp_path / "release"))
    named = spoil(folder)
    before = tree(tmp_path)
    outcome = watched(partial(get.main, str(folder), tmp_path / "mine", None, None))
    assert outcome.fault == ""
    assert named in outcome.error
    assert "\n" not in outcome.error
    assert outcome.error.isprintable()
    assert outcome.cpu_seconds < SOON_S
    now = tree(tmp_path)
    assert {path: now.get(path) for path in before} == before
    assert "private" not in "".join(path.read_text(errors="replace") for path in (tmp_path / "mine").rglob("*.*") if path.is_file())
    checked = watched(partial(verify, folder))
    assert checked.error or "AssertionError" in checked.fault, checked
    assert checked.cpu_seconds < SOON_S


def test_there_are_enough_of_them() -> None:
    assert len(SPOILS) >= 60


def test_a_link_that_stays_inside_is_followed(sound: dict[str, Path], tmp_path: Path) -> None:
    """As in data sets of DataLad, whose files are links into a store beside them."""
    folder = Path(shutil.copytree(sound["files"], tmp_path / "release"))
    for name in ("README.md", "sub-000001/anat/sub-000001_T1w.nii.gz", "covariates.parquet"):
        store = folder / "store" / Path(name).name
        store.parent.mkdir(exist_ok=True)
        (folder / name).rename(store)
        (folder / name).symlink_to(store)
    get.main(str(folder), tmp_path / "part", None, None)
    assert (tmp_path / "part/README.md").read_bytes() == (sound["files"] / "README.md").read_bytes()
    assert not [path for path in (tmp_path / "part").rglob("*") if path.is_symlink()]


def test_a_part_is_not_written_into_its_release(sound: dict[str, Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(sound["files"], tmp_path / "release"))
    before = tree(folder)
    for out in (folder, folder / "part", tmp_path / "part/../release"):
        with pytest.raises(DataError, match="lies in the release"):
            get.main(str(folder), out, None, None)
    assert tree(folder) == before
