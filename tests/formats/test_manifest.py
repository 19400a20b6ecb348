from pathlib import Path

import pytest

from brainldm.core.errors import DataError
from brainldm.formats.manifest import COLUMNS, OPTIONAL, read_manifest

GOOD = ("sub-1", "a.nii.gz", "61.5", "F", "train")


def _write(folder: Path, *lines: tuple[str, ...], columns: tuple[str, ...] = COLUMNS) -> Path:
    path = folder / "manifest.tsv"
    path.write_text("".join("\t".join(line) + "\n" for line in (columns, *lines)))
    return path


def test_paths_are_relative_to_the_manifest_and_further_columns_are_allowed(tmp_path: Path) -> None:
    path = _write(tmp_path, (*GOOD, "7"), ("sub-2", "/elsewhere/b.nii", "70", "M", "test", ""), columns=(*COLUMNS, "centre"))
    first, second = read_manifest(path)
    assert first == ("sub-1", tmp_path / "a.nii.gz", 61.5, "F", "train", "", None, None)
    assert first.name == "sub-1"
    assert (second.t1w, second.age_years) == (Path("/elsewhere/b.nii"), 70.0)


def test_sessions_and_volumes_are_read_where_there_are_any(tmp_path: Path) -> None:
    lines = [(*GOOD, "ses-1", "31.5", "n/a"), ("sub-1", "b.nii", "63", "F", "train", "ses-2", "", "1400")]
    first, second = read_manifest(_write(tmp_path, *lines, columns=(*COLUMNS, *OPTIONAL)))
    assert (first.session, first.ventricles_ml, first.brain_ml) == ("ses-1", 31.5, None)
    assert (second.name, second.ventricles_ml, second.brain_ml) == ("sub-1_ses-2", None, 1400.0)


def test_a_participant_is_in_one_split_and_no_two_scans_share_a_name(tmp_path: Path) -> None:
    lines = [
        (*GOOD, "ses-1", "", ""),
        ("sub-1", "b.nii", "63", "F", "test", "ses-2", "", ""),
        ("sub-1", "c.nii", "63", "F", "train", "ses-1", "", ""),
        ("sub-2", "d.nii", "63", "F", "train", "2", "-1", "1144240"),
    ]
    with pytest.raises(DataError) as error:
        read_manifest(_write(tmp_path, *lines, columns=(*COLUMNS, *OPTIONAL)))
    assert str(error.value).splitlines()[1:] == [
        "  line 3: split: expected train, that of the participant on line 2, found test",
        "  line 4: participant_id: sub-1 ses-1 stands on line 2 already",
        "  line 5: brain_ml: expected mL between 0 and 5000, or nothing, found '1144240'; if these are mm3, divide by 1000",
        "  line 5: session: expected a name such as ses-2, or nothing, found '2'",
        "  line 5: ventricles_ml: expected mL between 0 and 5000, or nothing, found '-1'",
    ]


def test_every_fault_is_named_by_its_line(tmp_path: Path) -> None:
    lines = [GOOD, ("../x", "b.nii", "old", "1", "val"), ("sub-1", "a.nii.gz", "-3", "M", ""), ("sub-3", "", "nan", "F", "test")]
    with pytest.raises(DataError) as error:
        read_manifest(_write(tmp_path, *lines))
    faults = str(error.value).splitlines()[1:]
    found = sorted(tuple(fault.strip().split(": ")[:2]) for fault in faults)
    expected = {
        "line 3": ("age_years", "participant_id", "sex", "split"),
        "line 4": ("age_years", "participant_id", "split", "t1w"),
        "line 5": ("age_years", "t1w"),
    }
    assert found == [(line, column) for line, columns in expected.items() for column in columns]
    assert "stands on line 2 already" in str(error.value)


@pytest.mark.parametrize("dropped", COLUMNS)
def test_a_missing_column_is_named(tmp_path: Path, dropped: str) -> None:
    kept = [index for index, name in enumerate(COLUMNS) if name != dropped]
    path = _write(tmp_path, tuple(GOOD[index] for index in kept), columns=tuple(COLUMNS[index] for index in kept))
    with pytest.raises(DataError, match=dropped):
        read_manifest(path)


def test_no_table_and_an_empty_one_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.tsv"):
        read_manifest(tmp_path / "none.tsv")
    with pytest.raises(DataError, match="end of the table"):
        read_manifest(_write(tmp_path))


def test_a_table_of_faults_ends_with_their_number(tmp_path: Path) -> None:
    lines = [(f"sub-{number}", f"{number}.nii", "old", "F", "train") for number in range(250)]
    with pytest.raises(DataError) as error:
        read_manifest(_write(tmp_path, *lines))
    found = str(error.value).splitlines()
    assert found[0].endswith("250 fault(s)")
    assert found[1].startswith("  line 2: age_years")
    assert found[-1] == "  ... and 150 more"
