"""Inputs on which `brainldm manifest` was silently wrong: each has the right value, or a fault that names it."""

import json
from pathlib import Path

import pytest
from bids_files import manifest, touch, write

from brainldm.core.errors import ConfigError, DataError

MAPPING = "participant_id: id\nt1w: file\nage_years: age\nsex: sex\n"


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """A dataset of two people without sessions."""
    touch(tmp_path, *(f"sub-{who}/anat/sub-{who}_T1w.nii.gz" for who in ("01", "02")))
    write(tmp_path, participants__tsv="participant_id\tage\tsex\nsub-01\t24\tF\nsub-02\t30\tM\n")
    return tmp_path


def of(folder: Path, *options: str) -> tuple[dict[str, float], str]:
    """Ages by scan, and the record as a text."""
    entries, record, _ = manifest("bids", folder, "--out", folder / "out.tsv", *options)
    return {name: entry.age_years for name, entry in entries.items()}, json.dumps(record)


def refused(folder: Path, *options: str) -> str:
    with pytest.raises(DataError) as error:
        of(folder, *options)
    assert not (folder / "out.tsv").exists()
    return str(error.value)


def table(folder: Path, text: str, mapping: str = MAPPING, name: str = "t.tsv", *options: str) -> dict[str, tuple[float, str]]:
    touch(folder, "a.nii.gz", "b.nii.gz", "c.nii.gz", "d.nii.gz")
    (folder / name).write_bytes(text.encode())
    (folder / "m.yaml").write_text(mapping)
    entries, _, _ = manifest("table", folder / name, "--mapping", folder / "m.yaml", "--out", folder / "out.tsv", *options)
    return {name: (entry.age_years, entry.sex) for name, entry in entries.items()}


@pytest.mark.parametrize(
    ("told", "ages"),
    [
        ({"Units": "months"}, (2, 2.5)),
        ({"Units": "Month"}, (2, 2.5)),
        ({"Units": "weeks"}, (24 * 7 / 365.25, 30 * 7 / 365.25)),
        ({"Units": "d"}, (24 / 365.25, 30 / 365.25)),
        ({"Units": "Month(s)"}, (2, 2.5)),
        ({"Units": "y/o"}, (24, 30)),
        ({"Description": "Age on the day of the scan"}, (24, 30)),
        ({"Units": "age in years"}, (24, 30)),
        ({"Units": "n/a", "Description": "Age of the participant, in years and months"}, (24, 30)),
        ({"Description": "age"}, (24, 30)),
    ],
)
def test_the_sidecar_gives_the_unit_of_ages(two: Path, told: dict[str, str], ages: tuple[float, float]) -> None:
    write(two, participants__json=json.dumps({"age": told}))
    assert list(of(two)[0].values()) == pytest.approx(ages, abs=1e-6)


@pytest.mark.parametrize(
    ("sidecar", "said"),
    [
        ('{"age": {"Units": "decades"}}', "the unit of age is 'decades', which is not known"),
        ('{"age": {"Units": "gestational weeks"}}', "'gestational weeks', which is not known"),
        ('{"age": {"Description": "age in months at the scan"}}', "its description speaks of another unit than years"),
        ('{"age": {"Description": "Months since birth"}}', "its description speaks of another unit than years"),
        ('{"age": {"LongName": "Age (days)"}}', "its description speaks of another unit than years"),
        ('{"age": {"Units": "years"}, "Age": {"Units": "months"}}', "Age stands there twice"),
        ('{"age": {"Units": "years"}, "age": {"Units": "months"}}', "age stands there twice"),
        ('{"age": {"Units": ', "is no JSON"),
    ],
)
def test_a_sidecar_that_does_not_tell_stops(two: Path, sidecar: str, said: str) -> None:
    write(two, participants__json=sidecar)
    assert said in refused(two)
    assert "participants.json" in refused(two)


@pytest.mark.parametrize(
    ("levels", "cells", "sexes"),
    [
        ({"1": "male", "2": "female"}, "12", "MF"),
        ({"1": {"Description": "Male participants"}, "2": {"Description": "Women"}}, "12", "MF"),
        ({"male": "1", "female": "2"}, "12", "MF"),
        ({"M": "", "F": ""}, "MF", "MF"),
        ({"0": "F", "1": "M"}, "10", "MF"),
    ],
)
def test_the_sidecar_gives_the_levels_of_sex(two: Path, levels: object, cells: str, sexes: str) -> None:
    write(two, participants__tsv=f"participant_id\tage\tsex\nsub-01\t24\t{cells[0]}\nsub-02\t30\t{cells[1]}\n")
    write(two, participants__json=json.dumps({"sex": {"Levels": levels}}))
    entries, _, _ = manifest("bids", two, "--out", two / "out.tsv")
    assert [entry.sex for entry in entries.values()] == list(sexes)


@pytest.mark.parametrize("levels", [{"M": "mujer", "F": "hombre"}, {"M": "Female", "F": "Male"}, {"F": "female or male", "M": "male"}])
def test_levels_that_name_no_sex_or_another_stop(two: Path, levels: object) -> None:
    write(two, participants__json=json.dumps({"sex": {"Levels": levels}}))
    assert "participants.json: the level" in refused(two)


SESSIONS = {
    "session_id\tage\nses-1\t60\nses-2\t66\n": "sub-01_sessions.tsv has no line for ses-02, but ses-2: they differ in leading zeros",
    "session_id\tage\nses-01\t60\nses-02\tn/a\n": "sub-01_sessions.tsv line 3 has no age at ses-02. Add it.",
    "session_id\tage\nses-01\t60\nses-02\t66\nses-02\t71\n": "sub-01_sessions.tsv has ses-02 on lines 3 and 4; which is meant",
    "session_id\tage\nses-01\t60\n": "sub-01_sessions.tsv has no line for ses-02. Correct it.",
    "session_id\tage\nses-01\t60\nses-02\t66\t7\n": "sub-01_sessions.tsv line 3: the line is longer than the header",
    "session_id\tage\nses-01\t60\nses-02\t66+\n": "sub-01_sessions.tsv line 3 has '66+' at ses-02; it is a limit",
    "visit\tage\nses-01\t60\nses-02\t66\n": "sub-01_sessions.tsv has no column session_id, so that its ages belong to no session",
    "session_id\tage\tAGE\nses-01\t60\t1\nses-02\t66\t1\n": "the columns age, AGE have one name",
}


def two_sessions(folder: Path, sessions: str | None) -> Path:
    touch(folder, *(f"sub-01/ses-0{ses}/anat/sub-01_ses-0{ses}_T1w.nii.gz" for ses in (1, 2)))
    write(folder, participants__tsv="participant_id\tage\tsex\nsub-01\t60\tF\n")
    if sessions is not None:
        write(folder / "sub-01", **{"sub-01_sessions__tsv": sessions})
    return folder


@pytest.mark.parametrize("sessions", SESSIONS)
def test_an_age_at_a_session_is_never_replaced(tmp_path: Path, sessions: str) -> None:
    assert SESSIONS[sessions] in refused(two_sessions(tmp_path, sessions), "--sessions", "all")


def test_ages_at_sessions_are_converted_and_a_column_session_is_taken_with_a_note(tmp_path: Path) -> None:
    two_sessions(tmp_path, "session\tage\nses-01\t720\n02\t792\n")
    write(tmp_path, sessions__json='{"age": {"Units": "months"}}')
    ages, record = of(tmp_path, "--sessions", "all")
    assert ages == {"sub-01_ses-01": 60, "sub-01_ses-02": 66}
    assert "its column session is taken for session_id" in record


@pytest.mark.parametrize(("sessions", "note"), [(None, "it has no sessions.tsv"), ("session_id\nses-01\n", "it has no column age")])
def test_the_age_of_the_participant_is_taken_with_a_word(tmp_path: Path, sessions: str | None, note: str) -> None:
    ages, record = of(two_sessions(tmp_path, sessions), "--sessions", "all")
    assert list(ages.values()) == [60, 60]
    assert note in record


def test_ages_at_sessions_need_a_unit_where_those_of_participants_are_not_in_years(tmp_path: Path) -> None:
    two_sessions(tmp_path, "session_id\tage\nses-01\t24\nses-02\t30\n")
    write(tmp_path, participants__json='{"age": {"Units": "months"}}')
    assert "the ages of participants.tsv are in months, those of sub-01_sessions.tsv have no Units" in refused(tmp_path)
    write(tmp_path, sessions__json='{"age": {"Units": "months"}}')
    assert list(of(tmp_path, "--sessions", "all")[0].values()) == [2, 2.5]


@pytest.mark.parametrize("name", ["participants.tsv", "participants.json", "sub-01/sub-01_sessions.tsv", "sessions.json"])
def test_tables_and_sidecars_whose_content_is_not_there_name_the_remedy(tmp_path: Path, name: str) -> None:
    two_sessions(tmp_path, "session_id\tage\nses-01\t24\nses-02\t30\n")
    (tmp_path / name).unlink(missing_ok=True)
    (tmp_path / name).symlink_to(".git/annex/objects/lost")
    assert "get its content (`datalad get`)" in refused(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).write_text("/annex/objects/MD5E-s12--00.tsv\n")
    assert "holds a pointer to its content only. Get its content with `datalad get`" in refused(tmp_path)


def test_lines_longer_than_the_header_are_faults_and_empty_cells_at_the_end_are_not(tmp_path: Path) -> None:
    touch(tmp_path, *(f"sub-0{who}/anat/sub-0{who}_T1w.nii.gz" for who in (1, 2, 3, 4)))
    lines = ["participant_id\tsex\thandedness\tscore\tage", "sub-01\tF\tR\t30\t65", "sub-02\tM\t\tR\t28\t71", "sub-03\tF\tR\t29\t50\t"]
    write(tmp_path, participants__tsv="\n".join([*lines, "sub-04\tM\t\tR\t28\t"]) + "\n")
    said = refused(tmp_path)
    assert "participants.tsv line 3 (sub-02)" in said
    assert "the line is longer than the header: 6 cells, the header has 5" in said
    assert "participants.tsv line 5 (sub-04)" in said  # a doubled tab before an age that is missing: 28 is no age
    assert "line 4" not in said
    assert of(tmp_path, "--skip-incomplete")[0] == {"sub-01": 65, "sub-03": 50}


def test_a_tsv_knows_no_quotation_marks(tmp_path: Path) -> None:
    lines = ["id\tfile\tage\tsex\tnote", '1\ta.nii.gz\t65\tF\t"fell asleep', "2\tb.nii.gz\t71\tM\tfine", '3\tc.nii.gz\t50\tM\t"moved']
    found = table(tmp_path, "\n".join([*lines, "4\td.nii.gz\t51\tF\tfine", ""]))
    assert found == {"sub-1": (65, "F"), "sub-2": (71, "M"), "sub-3": (50, "M"), "sub-4": (51, "F")}
    with pytest.raises(DataError, match=r'line 2 .*sex: "F" has quotation marks\. A TSV knows none'):
        table(tmp_path, 'id\tfile\tage\tsex\n1\ta.nii.gz\t65\t"F"\n')


def test_rows_do_not_vanish_between_quotation_marks_of_a_csv(tmp_path: Path) -> None:
    text = 'id,file,age,sex,note\n1,a.nii.gz,65,F,"fell asleep\n2,b.nii.gz,71,M,fine\n3,c.nii.gz,50,M,moved"\n4,d.nii.gz,51,F,x\n'
    with pytest.raises(DataError, match="line 2: a quotation mark opens there and closes on line 4, and whole rows lie between"):
        table(tmp_path, text, name="t.csv")
    with pytest.raises(DataError, match="line 2: a quotation mark opens there and closes on line 5"):
        table(tmp_path, text.replace('\n3,c.nii.gz,50,M,moved"', '\n\nmoved"'), name="t.csv")
    with pytest.raises(DataError, match="line 2: a quotation mark there does not enclose a cell"):
        table(tmp_path, text.replace('moved"', "moved"), name="t.csv")
    text = 'id,file,age,sex,note\n1,a.nii.gz,65,F,"two, lines\nof a ""note"""\n2,b.nii.gz,71,M,\n'
    assert table(tmp_path, text, name="t.csv") == {"sub-1": (65, "F"), "sub-2": (71, "M")}


def test_a_column_twice_is_refused_in_any_case_of_letters(two: Path) -> None:
    write(two, participants__tsv="participant_id\tAge\tsex\tage\nsub-01\t1\tF\t65\nsub-02\t2\tM\t71\n")
    assert "participants.tsv: the columns Age, age have one name; which is meant cannot be known" in refused(two)
    write(two, participants__tsv="participant_id\tAge\tsex\tnote\tNote\nsub-01\t65\tF\t1\t2\nsub-02\t71\tM\t1\t2\n")
    assert of(two)[0] == {"sub-01": 65, "sub-02": 71}  # nobody uses notes


def test_cells_are_stripped_before_they_are_missing(tmp_path: Path) -> None:
    text = "id,file,sex,age,visit\n01,a.nii.gz,F,65, n/a\n02,b.nii.gz,M,71,1\n"
    assert list(table(tmp_path, text, MAPPING + "session: visit\n", "t.csv")) == ["sub-01", "sub-02_ses-1"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("6_5", "it has an underscore"),
        ('"65,3"', "it has a comma. Write a decimal point"),
        ("89+", "it is a limit"),
        ("065Y", "it is an age as DICOM writes it. Write 65 and give the unit years"),
        ("inf", "it is not finite"),
        ("\uff16\uff15", "it has digits of another script"),
        ("0x41", "it is not decimal"),
        ("65 y", "it has a unit"),
        ("1960-01-31", "it is a date"),
    ],
)
def test_what_is_no_number_is_a_fault_with_its_remedy(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DataError) as error:
        table(tmp_path, f"id,file,sex,age\n01,a.nii.gz,F,{text}\n02,b.nii.gz,M,71\n", name="t.csv")
    assert "fault  line 2  age_years: expected a number of years" in str(error.value)
    assert said in str(error.value)


def test_a_mapping_spells_codes_as_the_table_does(tmp_path: Path) -> None:
    mapping = MAPPING.replace("sex: sex", "sex: {column: sex, values: {1.0: M, 2.0: F}}")
    text = "id,file,sex,age\n01,a.nii.gz,1.0,65\n02,b.nii.gz,2,71\n"
    assert table(tmp_path, text, mapping, "t.csv") == {"sub-01": (65, "M"), "sub-02": (71, "F")}
    for wrong in (mapping.replace("2.0: F", "1: F"), mapping + "sex: note\n"):
        with pytest.raises(ConfigError):
            table(tmp_path, text, wrong, "t.csv")


def test_the_sidecar_of_any_table_gives_units_and_must_agree_with_the_mapping(tmp_path: Path) -> None:
    write(tmp_path, t__json='{"age": {"Units": "months"}}')
    text = "id\tfile\tage\tsex\n01\ta.nii.gz\t24\tF\n"
    assert table(tmp_path, text) == {"sub-01": (2, "F")}
    scaled = MAPPING.replace("age_years: age", "age_years: {column: age, scale: 0.0833}")
    assert table(tmp_path, text, scaled) == {"sub-01": (pytest.approx(2, abs=0.01), "F")}
    with pytest.raises(DataError, match="takes age_months for years, and its name speaks of another unit"):
        table(tmp_path, text.replace("age", "age_months"), MAPPING.replace("age_years: age", "age_years: age_months"))
    with pytest.raises(DataError, match=r"the unit of age is months, which makes a scale of 0\.0833333; the mapping's scale"):
        table(tmp_path, text, scaled.replace("0.0833", "0.00274"))


@pytest.mark.parametrize(("name", "what"), [("1", "leading zeros"), ("sub-1", "leading zeros"), ("Sub-001", "the prefix|case")])
def test_a_name_that_is_nearly_a_folders_is_told(tmp_path: Path, name: str, what: str) -> None:
    touch(tmp_path, "sub-001/anat/sub-001_T1w.nii.gz", "sub-002/anat/sub-002_T1w.nii.gz")
    write(tmp_path, participants__tsv=f"participant_id\tage\tsex\n{name}\t65\tF\nsub-002\t71\tM\n")
    said = refused(tmp_path)
    assert "1 fault(s)" in said
    assert f"participant_id: {name!r} here, the folder is sub-001: they differ in" in said
    assert any(kind in said for kind in what.split("|"))


def test_names_without_the_prefix_are_matched_exactly_and_zeros_are_kept(tmp_path: Path) -> None:
    touch(tmp_path, "sub-001/anat/sub-001_T1w.nii.gz", "sub-01/anat/sub-01_T1w.nii.gz")
    write(tmp_path, participants__tsv="participant_id\tage\tsex\n01\t65\tF\n001\t71\tM\n")
    ages, record = of(tmp_path)
    assert ages == {"sub-01": 65, "sub-001": 71}
    assert "names that differ in leading zeros are taken for different people" in record


def test_two_spellings_of_one_name_are_a_fault(tmp_path: Path) -> None:
    text = "id,file,age,sex,visit\nA-01,a.nii.gz,65,F,1\nA01,b.nii.gz,66,F,2\n1.00E+06,c.nii.gz,66,F,1\n\u00fc1,d.nii.gz,66,F,1\n"
    with pytest.raises(DataError) as error:
        table(tmp_path, text, MAPPING + "session: visit\n", "t.csv")
    assert "line 3  participant_id: 'A01' becomes sub-A01, as 'A-01' on line 2 does" in str(error.value)
    assert "line 4  participant_id: '1.00E+06' is a number that a spreadsheet shortened" in str(error.value)
    assert "line 5  participant_id: '\u00fc1' has characters that no BIDS label has" in str(error.value)
