"""A BIDS folder with twelve oddities at once: one table that tells each of them once, and counts that add up."""

import json
import re
from pathlib import Path

import pytest
from bids_files import manifest, touch, write

from brainldm.core.errors import DataError

PEOPLE, SESSIONS = range(1, 13), range(1, 4)
ODDITIES = {
    "units": "participants.json",
    "a line too long": "the line is longer than the header",
    "a participant twice": "sub-03 stands on lines 4 and 13",
    "zeros lost": "'4' here, the folder is sub-04: they differ in the prefix and leading zeros",
    "a folder without a line": "participants.tsv has no line for it",
    "a limit for an age": "sub-06_sessions.tsv line 3 has '89+' at ses-2; it is a limit",
    "a session of another name": "sub-07_sessions.tsv has no line for ses-3, but ses-03: they differ in leading zeros",
    "a session without an age": "sub-08_sessions.tsv line 3 has no age at ses-2",
    "no table of sessions": "it has no sessions.tsv",
    "an imaginary part": "part-imag is no magnitude image",
    "a contrast agent": "a contrast agent was given",
    "a copy": "sub-12_ses-3_T1w.nii.gz holds the same bytes as",
}


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """Twelve people of three sessions, ages at which stand in tables of sessions; each oddity once."""
    folder = tmp_path / "study"
    touch(folder, *(f"sub-{i:02d}/ses-{ses}/anat/sub-{i:02d}_ses-{ses}_T1w.nii.gz" for i in PEOPLE for ses in SESSIONS))
    lines = {f"sub-{i:02d}": [f"sub-{i:02d}", "FM"[i % 2], str(12 * (40 + 3 * i)), "R"] for i in PEOPLE if i != 5}
    lines["sub-02"].insert(2, "")
    lines["sub-04"][0] = "4"
    text = "\n".join("\t".join(line) for line in [["participant_id", "sex", "age", "hand"], *lines.values(), lines["sub-03"]])
    write(folder, participants__tsv=text + "\n", participants__json=json.dumps({"age": {"Units": "months"}}))
    write(folder, sessions__json='{"age": {"Units": "years"}}')
    for i in PEOPLE:
        ages = {f"ses-{ses}": str(40 + 3 * i + ses) for ses in SESSIONS}
        if i == 6:
            ages["ses-2"] = "89+"
        if i == 7:
            ages["ses-03"] = ages.pop("ses-3")
        if i == 8:
            ages["ses-2"] = "n/a"
        if i != 9:
            rows = "".join(f"{session}\t{age}\n" for session, age in ages.items())
            (folder / f"sub-{i:02d}/sub-{i:02d}_sessions.tsv").write_text(f"session_id\tage\n{rows}")
    touch(folder, "sub-10/ses-1/anat/sub-10_ses-1_part-imag_T1w.nii.gz", "sub-11/ses-2/anat/sub-11_ses-2_ce-gad_T1w.nii.gz")
    copy = folder / "sub-12/ses-3/anat/sub-12_ses-3_T1w.nii.gz"
    copy.write_bytes((folder / "sub-12/ses-2/anat/sub-12_ses-2_T1w.nii.gz").read_bytes())
    return folder


def told(text: str) -> list[str]:
    """Lines of the table."""
    return [line for line in text.splitlines() if re.match(r"  (fault|left out|passed over|note) ", line)]


def test_a_refusal_is_one_table_with_each_oddity_once(dataset: Path) -> None:
    with pytest.raises(DataError) as error:
        manifest("bids", dataset, "--sessions", "all", "--held-out", "0.25", "--out", dataset / "scans.tsv")
    lines = told(str(error.value))
    assert len(lines) == len(ODDITIES)
    assert [sum(oddity in line for line in lines) for oddity in ODDITIES.values()] == [1] * len(ODDITIES)
    assert not (dataset / "scans.tsv").exists()


def test_what_is_written_tells_the_same_and_adds_up(dataset: Path) -> None:
    out = dataset / "scans.tsv"
    entries, record, said = manifest("bids", dataset, "--sessions", "all", "--held-out", "0.25", "--out", out, "--skip-incomplete")
    print(said)
    lines = told(said)
    assert len(lines) == len(ODDITIES)
    assert [sum(oddity in line for line in lines) for oddity in ODDITIES.values()] == [1] * len(ODDITIES)
    assert record["rows"] == {"found": 36, "written": len(entries), "left_out": 15}
    assert record["images"] == {"found": 38, "written": 21, "left_out": 15, "passed_over": 2}
    assert len(record["left_out"]) == 15
    for name, entry in entries.items():
        who, session = int(name[4:6]), int(name[-1])
        assert entry.age_years == pytest.approx(40 + 3 * who + (0 if who == 9 else session)), name
