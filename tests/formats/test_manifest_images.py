"""Which file is the scan: every T1w image below anat/ is taken, or listed with the reason; copies and pointers are found."""

import gzip
from pathlib import Path

import pytest
from bids_files import manifest, touch, write

from brainldm.core.errors import DataError, ScanError
from brainldm.formats.copies import copies
from brainldm.formats.manifest_draft import split_of
from brainldm.formats.scan import read_scan

PEOPLE = "participant_id\tage\tsex\nsub-01\t65\tF\nsub-02\t71\tM\n"


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    touch(tmp_path, "sub-02/anat/sub-02_T1w.nii.gz")
    write(tmp_path, participants__tsv=PEOPLE)
    return tmp_path


def taken(folder: Path, *names: str, options: tuple[str, ...] = ()) -> tuple[str, dict[str, str]]:
    """Which of sub-01's images is taken, and the reasons of the others."""
    touch(folder, *(f"sub-01/anat/{name}" for name in names))
    entries, record, _ = manifest("bids", folder, "--out", folder / "out.tsv", *options)
    others = {Path(name).name: why for name, why in record["passed_over"].items()}
    assert {entries["sub-01"].t1w.name, *others} == set(names)
    assert record["images"]["found"] == record["images"]["written"] + record["images"]["passed_over"] == len(names) + 1
    return entries["sub-01"].t1w.name, others


@pytest.mark.parametrize(
    ("best", "other", "reason"),
    [
        ("sub-01_part-mag_T1w.nii.gz", "sub-01_part-imag_T1w.nii.gz", "part-imag is no magnitude image"),
        ("sub-01_part-mag_T1w.nii.gz", "sub-01_part-phase_T1w.nii.gz", "part-phase is no magnitude image"),
        ("sub-01_T1w.nii.gz", "sub-01_acq-a+b_T1w.nii.gz", "with fewer entities"),
        ("sub-01_run-2_T1w.nii.gz", "sub-01_run-10_T1w.nii.gz", "a later run: the lowest"),
        ("sub-01_acq-z_T1w.nii.gz", "sub-01_acq-a_rec-defaced_T1w.nii.gz", "it is defaced"),
        ("sub-01_acq-z_T1w.nii.gz", "sub-01_space-MNI_T1w.nii.gz", "it was processed"),
        ("sub-01_T1w.nii.gz", "sub-01_ce-gadolinium_T1w.nii.gz", "a contrast agent was given"),
        ("sub-01_T1w.nii.gz", "sub-01_T1w.NII.GZ", "it ends in .NII.GZ"),
        ("sub-01_T1w.nii.gz", "sub-01_acq-a.b_T1w.nii.gz", "its name is none that BIDS has"),
        ("sub-01_T1w.nii.gz", "sub-01_ACQ-a_T1w.nii.gz", "'ACQ-a' is no entity"),
        ("sub-01_T1w.nii.gz", "sub-01_t1w.nii.gz", "it does not end in _T1w"),
        ("sub-01_T1w.nii.gz", "sub-01_T1w (1).nii.gz", "it does not end in _T1w"),
        ("sub-01_T1w.nii.gz", "._sub-01_T1w.nii.gz", "it is a hidden file, as macOS leaves them"),
        ("sub-01_T1w.nii.gz", "sub-02_T1w.nii.gz", "its name begins with sub-02, its folder is sub-01"),
        ("sub-01_T1w.nii.gz", "sub-01_ses-1_T1w.nii.gz", "its name begins with sub-01_ses-1, its folder is sub-01"),
        ("sub-01_T1w.nii.gz", "sub-01_acq-a_acq-b_T1w.nii.gz", "its name has an entity twice"),
        ("sub-01_T1w.nii.gz", "old/sub-01_T1w.nii.gz", "it lies in a folder below anat"),
        ("sub-01_T1w.nii", "sub-01_T1w.nii.gz", "comes first by name"),
    ],
)
def test_one_image_is_taken_and_the_other_listed(dataset: Path, best: str, other: str, reason: str) -> None:
    touch(dataset, f"sub-01/anat/{best}", f"sub-01/anat/{other}")
    entries, record, _ = manifest("bids", dataset, "--out", dataset / "out.tsv")
    assert entries["sub-01"].t1w.name == best
    assert reason in record["passed_over"][f"sub-01/anat/{other}"]
    assert record["images"] == {"found": 3, "written": 2, "left_out": 0, "passed_over": 1}


def test_plus_signs_are_letters_of_labels(tmp_path: Path) -> None:
    touch(tmp_path, "sub-a+1/ses-b+2/anat/sub-a+1_ses-b+2_acq-mprage+fs_T1w.nii.gz")
    write(tmp_path, participants__tsv="participant_id\tage\tsex\nsub-a+1\t65\tF\n")
    entries, _, _ = manifest("bids", tmp_path, "--out", tmp_path / "out.tsv")
    assert entries["sub-a+1_ses-b+2"].t1w.name == "sub-a+1_ses-b+2_acq-mprage+fs_T1w.nii.gz"


def test_the_rule_can_be_changed(dataset: Path) -> None:
    names = ("sub-01_T1w.nii.gz", "sub-01_rec-defaced_T1w.nii.gz", "sub-01_run-2_T1w.nii.gz")
    assert taken(dataset, *names)[0] == names[0]
    assert taken(dataset, *names, options=("--prefer", "rec-*"))[0] == names[1]
    assert taken(dataset, *names, options=("--prefer", "run-2", "--prefer", "rec-defaced"))[0] == names[2]
    best, others = taken(dataset, *names, options=("--exclude", "rec-defaced"))
    assert (best, others[names[1]]) == (names[0], "--exclude rec-defaced")


def test_a_contrast_agent_leaves_a_person_without_scan_unless_it_is_asked_for(dataset: Path) -> None:
    touch(dataset, "sub-01/anat/sub-01_ce-gad_T1w.nii.gz")
    with pytest.raises(DataError) as error:
        manifest("bids", dataset, "--out", dataset / "out.tsv")
    assert str(error.value).count("sub-01_ce-gad_T1w.nii.gz: a contrast agent was given (--exclude '' takes it)") == 1
    entries, _, _ = manifest("bids", dataset, "--out", dataset / "out.tsv", "--exclude", "")
    assert "ce-gad" in entries["sub-01"].t1w.name


@pytest.mark.parametrize(
    "other", ["Sub-03/anat/Sub-03_T1w.nii.gz", "sub-01/SES-1/anat/x_T1w.nii.gz", "sub-01/ses-1/Anat/sub-01_ses-1_T1w.nii"]
)
def test_images_in_folders_of_other_names_are_listed(dataset: Path, other: str) -> None:
    touch(dataset, "sub-01/anat/sub-01_T1w.nii.gz", other)
    _, record, said = manifest("bids", dataset, "--out", dataset / "out.tsv")
    assert "its folder" in record["passed_over"][other]
    assert said.count(other) == 1


def test_sessions_are_in_the_order_of_their_numbers(dataset: Path) -> None:
    touch(dataset, *(f"sub-01/ses-{ses}/anat/sub-01_ses-{ses}_T1w.nii.gz" for ses in (10, 9)))
    assert "sub-01_ses-9" in manifest("bids", dataset, "--out", dataset / "out.tsv")[0]


def test_a_copy_across_splits_is_an_error_and_within_one_a_note(dataset: Path) -> None:
    touch(dataset, "sub-01/anat/sub-01_T1w.nii.gz")
    (dataset / "sub-02/anat/sub-02_T1w.nii.gz").write_bytes((dataset / "sub-01/anat/sub-01_T1w.nii.gz").read_bytes())
    what = "sub-02/anat/sub-02_T1w.nii.gz holds the same bytes as sub-01/anat/sub-01_T1w.nii.gz"
    assert what in manifest("bids", dataset, "--out", dataset / "out.tsv", "--held-out", "0")[2]
    seed = next(seed for seed in range(20) if split_of("sub-01", 0.5, seed) != split_of("sub-02", 0.5, seed))
    with pytest.raises(DataError) as error:
        manifest("bids", dataset, "--out", dataset / "out.tsv", "--held-out", "0.5", "--seed", seed, "--skip-incomplete")
    assert f"{what} (participants.tsv line 2 (sub-01)), in the splits" in str(error.value)


def test_copies_are_found_whatever_they_are_called_and_however_they_are_compressed(tmp_path: Path) -> None:
    voxels = bytes(range(256)) * 1000
    contents = {
        "a.nii": voxels,
        "b.nii": voxels,
        "c.nii.gz": gzip.compress(voxels, 1),
        "d.nii.gz": gzip.compress(voxels, 9),
        "e.nii": voxels[:-1] + b"x",
        "f.nii.gz": gzip.compress(voxels[:100_000] + b"x" + voxels[100_001:]),
        "g.nii": voxels[:1000],
        "h.nii.gz": gzip.compress(voxels)[:500],
        "i.nii.gz": gzip.compress(voxels)[:500],
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    paths = [tmp_path / name for name in [*contents, "nowhere.nii"]]
    found = [{path.name for path in group} for group in copies(paths)]
    assert found == [{"a.nii", "b.nii", "c.nii.gz", "d.nii.gz"}, {"h.nii.gz", "i.nii.gz"}]
    assert copies([tmp_path / "a.nii", tmp_path / "e.nii"]) == []
    assert len(copies([tmp_path / "a.nii", tmp_path / "b.nii", tmp_path / "e.nii"])[0]) == 2


@pytest.mark.parametrize(
    ("pointer", "remedy"),
    [
        (b"/annex/objects/MD5E-s4183263--00.nii.gz\n", "datalad get"),
        (b"../../../.git/annex/objects/x/y/MD5E-s1--0.nii.gz/MD5E-s1--0.nii.gz", "git annex get"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4183263\n", "git lfs pull"),
    ],
)
def test_a_pointer_to_the_content_names_the_remedy(dataset: Path, pointer: bytes, remedy: str) -> None:
    path = dataset / "sub-01/anat/sub-01_T1w.nii.gz"
    touch(dataset, "sub-01/anat/sub-01_T1w.nii.gz")
    path.write_bytes(pointer)
    with pytest.raises(DataError, match=remedy):
        manifest("bids", dataset, "--out", dataset / "out.tsv")
    with pytest.raises(ScanError, match=remedy):
        read_scan(path)
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        manifest("bids", dataset, "--out", dataset / "out.tsv")
