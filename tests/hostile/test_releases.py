"""Releases made to harm their reader: each is one error that names the file, soon, in little memory; nothing outside is touched."""

import shutil
from functools import partial
from pathlib import Path

import plain_release
import pytest
from hostile_releases import SPOILS
from watched import watched

from brainldm.commands import get
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


@pytest.mark.parametrize("name", SPOILS)
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
