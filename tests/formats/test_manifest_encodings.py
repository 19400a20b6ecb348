"""Tables in the encodings and with the line ends that people have; what is no text is refused with the remedy."""

from pathlib import Path

import pytest
from bids_files import manifest, touch, write

from brainldm.core.errors import DataError

MAPPING = "participant_id: id\nt1w: file\nage_years: age\nsex: sex\n"
ENCODED = "id,file,age,sex,note\n1,a.nii.gz,65,F,na\u00efve\n"


@pytest.mark.parametrize(("encoding", "end"), [("utf-8", "\r\n"), ("utf-8-sig", "\r"), ("utf-16", "\n"), ("utf-8", "\n")])
def test_encodings_and_line_ends(tmp_path: Path, encoding: str, end: str) -> None:
    touch(tmp_path, "a.nii.gz")
    (tmp_path / "t.csv").write_bytes(ENCODED.replace("\n", end).encode(encoding))
    write(tmp_path, m__yaml=MAPPING)
    entries, _, _ = manifest("table", tmp_path / "t.csv", "--mapping", tmp_path / "m.yaml", "--out", tmp_path / "out.tsv")
    assert entries["sub-1"].age_years == 65


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ENCODED.encode("latin-1"), "line 2: byte 0xef of another encoding than UTF-8. Save the table as UTF-8"),
        (ENCODED.encode("utf-16-le"), "a NUL byte"),
        (ENCODED.replace("65", "6\0005").encode(), "line 2: a NUL byte"),
        (b"PK\x03\x04...", "is a spreadsheet or an archive, no table in text. Save it as CSV"),
        (b"\x1f\x8b...", "is a compressed file"),
        (b"a,b;c\n", "which of them separate columns cannot be known"),
    ],
)
def test_what_is_no_text_is_refused_with_the_remedy(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    write(tmp_path, m__yaml=MAPPING)
    with pytest.raises(DataError) as error:
        manifest("table", tmp_path / "t.csv", "--mapping", tmp_path / "m.yaml", "--out", tmp_path / "out.tsv")
    assert said in str(error.value)
