from pathlib import Path

import pytest

from brainldm.core.errors import DataError
from brainldm.core.files import atomic_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_folder_replaces_the_old_one_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with atomic_folder(tmp_path / "data") as folder:
            (folder / name).write_text(name)
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == ["b"]


def test_an_error_leaves_the_old_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "old").write_text("old")
    with pytest.raises(DataError, match="Is a directory"), atomic_folder(tmp_path / "data") as folder:
        folder.write_text("a folder takes no text")
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == ["old"]


def test_what_a_killed_run_left_is_no_part_of_the_next(tmp_path: Path) -> None:
    (tmp_path / ".fresh.data").mkdir()
    (tmp_path / ".fresh.data" / "half").write_text("half")
    with atomic_folder(tmp_path / "data") as folder:
        (folder / "new").write_text("new")
    assert names(tmp_path) == ["data"]
    assert names(tmp_path / "data") == ["new"]
