"""Volumes that others made: rows find their files by path or by name, and every fault is named by its line."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from brainldm.core.errors import DataError
from brainldm.formats.bids_images import _unwanted_by_sidecar
from brainldm.formats.foreign import volumes_of
from brainldm.formats.sidecar import sidecar_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_dseg.nii.gz", "sub-02_T1w.nii", "x/b.mgz"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"volume")
    return tmp_path / "set"


def table(folder: Path, text: str) -> Path:
    (folder.parent / "t.csv").write_text(text)
    return folder.parent / "t.csv"


def test_without_a_table_all_images_are_taken_and_label_maps_are_not(folder: Path) -> None:
    assert volumes_of(folder, None)["name"].tolist() == ["sub-01_T1w", "sub-02_T1w", "b"]


def test_rows_find_their_files_by_participant_or_by_path(folder: Path) -> None:
    found = volumes_of(folder, table(folder, "participant_id,age,sex\nsub-02,50,female\nsub-01,60,M\n"))
    assert [path.name for path in found["path"]] == ["sub-02_T1w.nii", "sub-01_T1w.nii.gz"]
    assert (found["age_years"].tolist(), found["sex"].tolist()) == ([50, 60], ["F", "M"])
    assert volumes_of(folder, table(folder, "path\tventricles_ml\nx/b.mgz\t30\n"))["ventricles_ml"].tolist() == [30]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("participant_id,age\nsub-01,60\nsub-02,50\nsub-01,60\n", "line 4: sub-01_T1w.nii.gz stands on line 2 already: it would count"),
        (
            "participant_id,age\nsub-1,60\n",
            "line 2: participant_id: expected one volume for sub-1, found 0; there is sub-01: they differ in",
        ),
        ("participant_id,age\n02,60\n", "there is sub-02: they differ in the prefix"),
        ("participant_id,age,note\nsub-01,60,x,7\n", "line 2: the line is longer than the header"),
        ("participant_id,age,note\nsub-01,60\n", "line 2: the line is shorter than the header"),
        ("participant_id,age,AGE\nsub-01,60,7\n", "the columns age, AGE have one name"),
        ("participant_id,age\nsub-01,6_0\n", "found '6_0'; it has an underscore"),
        ("participant_id,age\n,60\n", "line 2: participant_id: expected one volume for nothing, found 0"),
    ],
)
def test_tables_are_read_with_the_care_of_all_tables(folder: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        volumes_of(folder, table(folder, text))
    assert said in str(error.value)


def test_the_sidecar_gives_units_and_levels(folder: Path) -> None:
    (folder.parent / "t.json").write_text('{"age": {"Units": "months"}, "sex": {"Levels": {"1": "male", "2": "female"}}}')
    found = volumes_of(folder, table(folder, "participant_id,age,sex\nsub-02,600,2\nsub-01,720,1.0\n"))
    assert (found["age_years"].tolist(), found["sex"].tolist()) == ([50, 60], ["F", "M"])
    (folder.parent / "t.json").write_text('{"age_years": {"Units": "months"}}')
    with pytest.raises(DataError, match="the unit of age_years is not years"):
        volumes_of(folder, table(folder, "participant_id,age_years\nsub-02,600\n"))


def test_every_row_tells_its_file(folder: Path) -> None:
    for person in ("one", "two"):
        (folder / person / "T1").mkdir(parents=True)
        (folder / person / "T1/T1.nii.gz").write_bytes(b"volume")
    found = volumes_of(folder, None)
    assert found["file"].is_unique
    assert {"one/T1/T1.nii.gz", "two/T1/T1.nii.gz"} <= set(found["file"])
    assert volumes_of(folder, table(folder, "path\ntwo/T1/T1.nii.gz\nx/b.mgz\n"))["file"].tolist() == ["two/T1/T1.nii.gz", "x/b.mgz"]


def test_a_file_on_two_rows_is_a_fault_and_a_link_counts_once(folder: Path) -> None:
    with pytest.raises(DataError, match=r"line 4: sub-02_T1w.nii stands on line 2 already: it would count twice"):
        volumes_of(folder, table(folder, "participant_id\nsub-02\nsub-01\nsub-02\n"))
    (folder / "y.nii").symlink_to(folder / "sub-02_T1w.nii")
    (folder / "z.nii").hardlink_to(folder / "sub-02_T1w.nii")
    assert len(volumes_of(folder, None)) == 3
    with pytest.raises(DataError, match=r"line 3: y.nii stands on line 2 already"):
        volumes_of(folder, table(folder, "path\nsub-02_T1w.nii\ny.nii\n"))


def test_a_volume_stored_twice_under_one_name_is_refused(folder: Path) -> None:
    (folder / "sub-02_T1w.nii.gz").write_bytes(b"volume")
    with pytest.raises(DataError, match=r"sub-02_T1w.nii.gz: sub-02_T1w.nii beside it has the same name"):
        volumes_of(folder, None)


def test_a_pair_is_one_volume(folder: Path) -> None:
    for name in ("p.hdr", "p.img"):
        (folder / name).write_bytes(b"half")
    assert volumes_of(folder, None)["file"].tolist().count("p.hdr") == 1
    assert volumes_of(folder, table(folder, "path\np.img\n"))["file"].tolist() == ["p.hdr"]


def test_every_fault_is_named_by_its_line(folder: Path) -> None:
    with pytest.raises(DataError) as error:
        volumes_of(folder, table(folder, "participant_id,age_years,sex,ventricles_ml\nsub-9,50,F,30\nsub-01,20000,x,30000\n"))
    assert str(error.value).splitlines()[1:] == [
        "  line 2: participant_id: expected one volume for sub-9, found 0",
        "  line 3: age_years: expected a number up to 125, found '20000'; if these are days, divide by 365.25; if months, by 12",
        "  line 3: sex: expected F or M, found 'x'",
        "  line 3: ventricles_ml: expected a number up to 5000, found '30000'; if these are mm3, divide by 1000",
    ]
    with pytest.raises(DataError, match="expected rows with a column path or participant_id, found id"):
        volumes_of(folder, table(folder, "id\n1\n"))
    with pytest.raises(DataError, match=r"Cannot read .*nowhere"):
        volumes_of(folder / "nowhere", None)


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 33)


@pytest.mark.parametrize("make", [os.mkfifo, huge])
def test_what_stands_beside_a_table_is_a_file_of_bounded_size(tmp_path: Path, make: Callable[[Path], None]) -> None:
    (tmp_path / "a.csv").write_text("path,age_years\n")
    make(tmp_path / "a.json")
    with pytest.raises(DataError, match="Cannot read"):
        sidecar_of(tmp_path / "a.csv")
    assert _unwanted_by_sidecar(tmp_path / "a.nii.gz", ()) is None
