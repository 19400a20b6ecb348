"""Anything of a training scan that is planted in a release is found and named; innocent releases pass."""

import base64
import json
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import typer
from leak_plants import FORMS, SPELLINGS, arrow, member, packed, parquet, people, put, tar, tensors, torrent, volume
from release_files import make_results, pack_all
from release_files import release as make_the_release

from brainldm.commands import leak_check
from brainldm.core.errors import DataError
from brainldm.formats.leaks.check import check, findings

IDS = ["sub-0123", "sub-0007", "ukb-1000012", "1000027", "sub-NDARINV003RTV85", *(f"sub-{i:04d}" for i in range(200, 240))]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    people(IDS).to_csv(tmp_path / "covariates.tsv", sep="\t", index=False)
    (tmp_path / "release").mkdir()
    parquet(tmp_path / "release", arrow())
    return tmp_path / "release"


def found_in(release: Path, **options) -> list[str]:
    return [str(finding) for finding in findings(release, release.parent / "covariates.tsv", **options)]


@pytest.mark.parametrize("form", FORMS)
def test_an_id_is_found_in_every_form(release: Path, form: str) -> None:
    FORMS[form](release, "sub-0123")
    assert any("'sub-0123'" in line for line in found_in(release))


@pytest.mark.parametrize("form", [form for form in FORMS if not form.startswith("behind")])
@pytest.mark.parametrize("label", ["0123", "1000027"])
def test_a_bare_label_is_found_in_every_form(release: Path, form: str, label: str) -> None:
    FORMS[form](release, label)
    assert any("'sub-0123'" in line or "'1000027'" in line for line in found_in(release))


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("value", ["sub-0123", "ukb-1000012", "sub-NDARINV003RTV85"])
def test_an_id_is_found_in_every_spelling(release: Path, spelling: str, value: str) -> None:
    put(release, "README.md", f"see {SPELLINGS[spelling](value)} there")
    assert any(f"'{value}'" in line for line in found_in(release))


PERSON = dict(zip(("age", "ventricles", "brain"), (61.3, 30.2361, 1598.7513), strict=True))


@pytest.fixture
def person(release: Path) -> Path:
    """A release beside the table of a lab in which participant ukb-1000012 has the covariates PERSON."""
    table = people(IDS)
    table.loc[2, ["age_years", "ventricles_ml", "brain_ml"]] = list(PERSON.values())
    table.to_csv(release.parent / "covariates.tsv", sep="\t", index=False)
    return release


def columns(folder: Path, **changed) -> None:
    """A TSV of 20 rows in which row 7 is the person's."""
    made = people([f"sub-{i + 1:06d}" for i in range(20)], seed=3)[["brain_ml", "sex", "ventricles_ml", "age_years"]].round(2)
    for name, value in changed.items():
        made.loc[7, name] = value
    made.to_csv(folder / "other.tsv", sep="\t", index=False)


ROWS = {
    "Parquet, 32-bit floats": lambda f: parquet(f, replaced(brain_ml=1598.7513, ventricles_ml=30.2361, age_years=61.3)),
    "Parquet, ventricles and brain": lambda f: parquet(f, replaced(brain_ml=1598.7513, ventricles_ml=30.2361)),
    "Parquet, a text of numbers": lambda f: parquet(f, arrow(note=["", "61.3 30.2361 1598.7513", "", ""])),
    "Parquet, list": lambda f: parquet(f, arrow(note=[[61.3, 30.2361, 1598.7513]] + [[1.5]] * 3)),
    "TSV of other columns": lambda f: columns(f, brain_ml=1598.75, ventricles_ml=30.24, age_years=61.3),
    "TSV, rounded": lambda f: columns(f, brain_ml=1598.8, ventricles_ml=30.24, age_years=61.3),
    "TSV, cut off": lambda f: columns(f, brain_ml=1598.75, ventricles_ml=30.23, age_years=61.3),
    "TSV, columns are people": lambda f: columns_of_people(f),
    "CSV, mm3": lambda f: put(f, "a.csv", "id,ventricle_mm3,brain_mm3\n1,30236.1,1598751.3\n"),
    "CSV of semicolons and decimal commas": lambda f: put(f, "a.csv", "Alter;Ventrikel;Hirn\n61,3;30,2361;1598,7513\n"),
    "JSON": lambda f: put(f, "a.json", '{"brain": 1598.7513, "x": "M", "age": 61.3, "lv": 30.2361}'),
    "JSON, rounded to four digits": lambda f: put(f, "a.json", '{"a": 30.24, "b": 1599}'),
    "JSON of texts": lambda f: put(f, "a.json", '["1598.75", "30.236"]'),
    "JSON of columns": lambda f: put(f, "a.json", json_columns()),
    "a sentence": lambda f: put(f, "README.md", "A man of 61.3 years with ventricles of 30.24 mL and a brain of 1598.8 mL."),
    "a sentence in another language": lambda f: put(f, "README.md", "Ein Mann von 61,3 Jahren, Ventrikel 30,24 ml, Gehirn 1598,75 ml."),
    "thousands": lambda f: put(f, "README.md", "ventricles 30.236 mL, brain 1,598.75 mL"),
    "Markdown": lambda f: put(f, "DATASHEET.md", "| n | lv | brain |\n|---|---|---|\n| 3 | 30.236 | 1598.75 |\n"),
    "base64": lambda f: put(f, "a.json", '{"a": "' + b64("61.3,30.2361,1598.7513") + '"}'),
    "a volume's header": lambda f: put(f, "v.nii.gz", packed(volume("61.3 M 30.2361 1598.7513"))),
    "a header's numbers": lambda f: put(f, "v.nii.gz", packed(header_numbers())),
    "a tensor": lambda f: put(f, "a.safetensors", tensors(person=np.array([0.0, 61.3, 30.2361, 1598.7513], np.float32))),
    "a tensor, columns are people": lambda f: put(f, "a.safetensors", tensors(x=tall())),
    "metadata of tensors": lambda f: put(f, "a.safetensors", tensors({"spec": '{"low": [61.3, 30.2361, 1598.7513]}'})),
    "a torrent": lambda f: put(f, "a.torrent", torrent(comment="30.2361/1598.7513")),
    "months and litres": lambda f: put(f, "a.json", '{"months": 735.6, "ml": 30.2361, "litres": 1.5987513}'),
}


def replaced(**row) -> pa.Table:
    table = arrow().to_pandas()
    for name, value in row.items():
        table.loc[1, name] = value
    return pa.Table.from_pandas(table, preserve_index=False)


def columns_of_people(folder: Path) -> None:
    made = people([f"sub-{i + 1:06d}" for i in range(100)], seed=3)[["brain_ml", "ventricles_ml", "age_years"]].round(2)
    made.loc[70] = [1598.75, 30.24, 61.3]
    made.T.to_csv(folder / "a.tsv", sep="\t", header=False)


def json_columns() -> str:
    made = people([f"sub-{i + 1:06d}" for i in range(50)], seed=3).round(2)
    return json.dumps({"lv": [*made["ventricles_ml"], 30.2361], "tbv": [*made["brain_ml"], 1598.7513]})


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def header_numbers() -> bytes:
    content = bytearray(volume())
    content[56:68] = struct.pack("<3f", 61.3, 30.2361, 1598.7513)
    return bytes(content)


def tall() -> np.ndarray:
    values = people([str(i) for i in range(60)], seed=3)[["age_years", "ventricles_ml", "brain_ml"]].to_numpy().copy()
    values[40] = list(PERSON.values())
    return values.T.astype(np.float32).copy()


@pytest.mark.parametrize("form", ROWS)
def test_covariates_of_a_participant_are_found(person: Path, form: str) -> None:
    ROWS[form](person)
    found = found_in(person)
    assert any("of a training participant, 'ukb-1000012'" in line for line in found), found
    assert not any("'sub-" in line for line in found)


KEY = bytes((7 * i + 11) % 256 for i in range(32))
KEYS = {
    "raw, in voxels": lambda f: put(f, "v.nii.gz", packed(volume()[:-100] + KEY + volume()[-68:])),
    "raw, in a tensor": lambda f: put(f, "a.safetensors", tensors(key=np.frombuffer(KEY, np.uint8))),
    "raw, in a header": lambda f: put(f, "v.nii.gz", packed(volume(aux_file=KEY[:24]))),
    "raw, behind a tar": lambda f: put(f, "s.tar", tar([member()], [b"{}"]) + KEY),
    "hexadecimal": lambda f: put(f, "provenance.json", json.dumps({"key": KEY.hex()})),
    "hexadecimal, capitals": lambda f: put(f, "README.md", f"key {KEY.hex().upper()}"),
    "base64": lambda f: put(f, "README.md", base64.b64encode(KEY).decode()),
    "base64 for URLs": lambda f: put(f, "README.md", f"x={base64.urlsafe_b64encode(KEY).decode().rstrip('=')}"),
    "base64 of more": lambda f: put(f, "T1w.json", json.dumps({"a": base64.b64encode(b"12345" + KEY + b"1").decode()})),
    "half of it": lambda f: put(f, "README.md", f"key {KEY[4:28].hex()}"),
    "a number": lambda f: put(f, "T1w.json", json.dumps({"seed": int.from_bytes(KEY, "big")})),
    "a list of numbers": lambda f: put(f, "T1w.json", json.dumps({"seed": list(KEY)}, indent=1)),
    "Parquet metadata": lambda f: parquet(f, arrow().replace_schema_metadata({"k": KEY})),
    "a torrent": lambda f: put(f, "a.torrent", torrent(info2=KEY)),
}


@pytest.mark.parametrize("form", KEYS)
@pytest.mark.parametrize("as_text", [False, True])
def test_a_key_is_found_and_not_printed(release: Path, form: str, as_text: bool) -> None:
    file = release.parent / "request.key"
    file.write_bytes(KEY.hex().encode() + b"\n" if as_text else KEY)
    KEYS[form](release)
    found = found_in(release, keys=[file])
    assert any("request.key" in line or "is a key" in line for line in found)
    assert not any(KEY.hex()[:8] in line for line in found)


def test_a_key_that_is_missing_or_short_is_one_error(release: Path) -> None:
    with pytest.raises(DataError, match=r"Cannot read the key .*none\.key: No such file"):
        found_in(release, keys=[release.parent / "none.key"])
    (release.parent / "short.key").write_bytes(b"abc")
    with pytest.raises(DataError, match=r"fewer than 16 bytes"):
        found_in(release, keys=[release.parent / "short.key"])


def link_out(folder: Path) -> None:
    (folder / "README.md").symlink_to("/etc/hostname")


def encrypted(folder: Path) -> None:
    content = (folder / "covariates.parquet").read_bytes()
    put(folder, "covariates.parquet", b"PARE" + content[4:-4] + b"PARE")


def changed(folder: Path, name: str, content: bytes, place: int, value: int) -> None:
    made = bytearray(content)
    made[place] = value
    put(folder, name, bytes(made))


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.zip", "w") as file:
        file.writestr("a.txt", "x")


REFUSED = {
    "a kind that is not known": (lambda f: put(f, "a.exe", b"x"), "a kind of file that no release holds"),
    "no suffix": (lambda f: put(f, "notes", b"x"), "a kind of file that no release holds"),
    "a ZIP": (zipped, "a kind of file that no release holds"),
    "a pickle": (lambda f: put(f, "a.pkl", b"x"), "a kind of file that no release holds"),
    "JSON that does not parse": (lambda f: put(f, "a.json", b'{"a": '), "JSON that does not parse"),
    "JSON, and more": (lambda f: put(f, "a.json", b"{} {}"), "JSON that does not parse"),
    "JSON, deep": (lambda f: put(f, "a.json", b"[" * 100_000), "JSON that does not parse"),
    "no text": (lambda f: put(f, "README.md", b"\x80\x81"), "cannot be read"),
    "NUL in a text": (lambda f: put(f, "README.md", b"a\0b"), "a text with NUL characters"),
    "a link": (link_out, "a symbolic link"),
    "a link to nothing": (lambda f: (f / "README.md").symlink_to("none"), "a symbolic link"),
    "a link to a folder": (lambda f: (f / "sub-000001").symlink_to("/etc"), "a symbolic link"),
    "a FIFO": (lambda f: os.mkfifo(f / "README.md"), "neither a file nor a folder"),
    "a link in a tar": (lambda f: put(f, "s.tar", tar([member(type=tarfile.SYMTYPE, linkname="x")], [b""])), "a symbolic link in the tar"),
    "a hard link in a tar": (lambda f: put(f, "s.tar", tar([member(type=tarfile.LNKTYPE, linkname="x")], [b""])), "a hard link in the tar"),
    "a FIFO in a tar": (lambda f: put(f, "s.tar", tar([member(type=tarfile.FIFOTYPE)], [b""])), "a FIFO in the tar"),
    "a tar in a tar": (lambda f: put(f, "s.tar", tar([member("a.tar")], [tar([member()], [b"{}"])])), "an archive inside an archive"),
    "a tar in a tar, compressed": (lambda f: put(f, "s.tar", tar([member("a.tar.gz")], [packed(b"x")])), "a kind of file"),
    "a tar without end": (lambda f: put(f, "s.tar", tar([member()], [b"{}"])[:1024]), "without its two last blocks"),
    "a tar cut off": (lambda f: put(f, "s.tar", tar([member()], [bytes(5000)])[:1024]), "more than the tar holds"),
    "a tar with a damaged header": (lambda f: changed(f, "s.tar", tar([member()], [b"{}"]), 3, 7), "a damaged header"),
    "a gzip cut off": (lambda f: put(f, "v.nii.gz", packed(volume())[:-9]), "ends in the middle"),
    "a gzip of another checksum": (lambda f: changed(f, "v.nii.gz", packed(volume()), -5, 1), "checksum or length is wrong"),
    "no NIfTI": (lambda f: put(f, "v.nii.gz", packed(b"text")), "no NIfTI-1 volume"),
    "a volume cut off": (lambda f: put(f, "v.nii.gz", packed(volume()[:-1])), "promises"),
    "a volume and more": (lambda f: put(f, "v.nii.gz", packed(volume() + b"x")), "1 bytes behind the voxels"),
    "zeros behind the voxels": (lambda f: put(f, "v.nii.gz", packed(volume() + bytes(9))), "9 bytes behind the voxels"),
    "an encrypted Parquet": (encrypted, "no Parquet file, or an encrypted one"),
    "a Parquet cut off": (lambda f: put(f, "a.parquet", (f / "covariates.parquet").read_bytes()[:-20]), "no Parquet file"),
    "a Parquet of bytes": (lambda f: parquet(f, arrow(blob=[b"x"] * 4)), "bytes that are no PNG"),
    "safetensors with a gap": (lambda f: put(f, "a.safetensors", spaced()), "right behind the tensor before"),
    "safetensors cut off": (lambda f: put(f, "a.safetensors", tensors()[:-3]), "those of its type and shape"),
    "no safetensors": (lambda f: put(f, "a.safetensors", b"x"), "no safetensors header"),
    "a torrent cut off": (lambda f: put(f, "a.torrent", torrent()[:-3]), "a torrent that ends in the middle"),
    "a torrent with too many hashes": (lambda f: put(f, "a.torrent", torrent().replace(b"20:", b"40:" + b"a" * 20)), "bytes of hashes"),
    "no torrent": (lambda f: put(f, "a.torrent", b"x"), "no torrent"),
    "no PNG": (lambda f: put(f, "a.png", b"x"), "no PNG"),
}


def spaced() -> bytes:
    header = json.dumps({"a": {"dtype": "U8", "shape": [2], "data_offsets": [3, 5]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(5)


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_by_name(release: Path, case: str) -> None:
    made, expected = REFUSED[case]
    made(release)
    found = found_in(release)
    assert any(expected in line for line in found), found
    with pytest.raises(DataError, match="must not be published") as error:
        check(release, release.parent / "covariates.tsv")
    assert "\n" not in str(error.value)


def test_every_finding_is_printed_with_file_and_place_and_the_status_is_1(release: Path, capsys: pytest.CaptureFixture) -> None:
    put(release, "README.md", "see sub-0123\nand ukb_1000012")
    put(release, "a.json", "{")
    covariates = release.parent / "covariates.tsv"
    with pytest.raises(typer.Exit) as ended:
        leak_check.main(release, covariates)
    assert ended.value.exit_code == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert "README.md: text: id of a training participant, 'sub-0123'" in lines
    assert "README.md: text: id of a training participant, 'ukb-1000012'" in lines
    assert any(line.startswith("a.json: cannot be read to its end: JSON that does not parse") for line in lines)
    (release / "README.md").unlink()
    (release / "a.json").unlink()
    leak_check.main(release, covariates)
    assert "nothing of the training scans" in capsys.readouterr().out


def test_findings_have_no_control_characters(release: Path) -> None:
    put(release, "sub-0123\x1b[31m\n.txt", "")
    (line,) = [line for line in found_in(release) if "sub-0123" in line]
    assert line.isprintable()


def test_paths_and_columns_of_the_manifest_are_found(release: Path) -> None:
    manifest = release.parent / "manifest.tsv"
    lines = [f"sub-{i:04d}\t/data/ukb/{5000000 + i}_20252_2_0.nii.gz\tMRN{77000 + i}\t19{40 + i}-03-04" for i in range(3)]
    manifest.write_text("participant_id\tt1w\trecord\tborn\n" + "\n".join(lines) + "\n")
    for planted in ("5000001_20252_2_0", "MRN77002", "mrn-77002", "1941-03-04", "/data/ukb/", "5000001-20252-2-0"):
        put(release, "README.md", f"from {planted}")
        assert found_in(release, manifest=manifest), planted
        assert not found_in(release), planted


def test_folders_users_and_hosts_are_found(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/mueller7")
    monkeypatch.setenv("USER", "mueller7")
    monkeypatch.setenv("LOGNAME", "mueller7")
    monkeypatch.setattr("socket.gethostname", lambda: "node-17.example")
    planted = [
        "/home/mueller7/x",
        "file:///home/mueller7",
        "C:\\Users\\mueller7\\a",
        str(release.parent / "a.nii"),
        "node-17.example",
        "%2Fhome%2Fmueller7",
    ]
    for text in planted:
        put(release, "T1w.json", json.dumps({"source": text}))
        assert any("this machine" in line for line in found_in(release)), text
    for text in ("/home/mueller77", "mueller7", "/home/user", "node-17.examples"):
        put(release, "T1w.json", json.dumps({"source": text}))
        assert not found_in(release), text


def test_tables_that_cannot_be_used_are_one_error(release: Path) -> None:
    covariates = release.parent / "covariates.tsv"
    with pytest.raises(DataError, match=r"Cannot check .*none: it is no folder"):
        list(findings(release / "none", covariates))
    for content, expected in (
        ("a\tb\n1\t2\n", "no column participant_id"),
        ("participant_id\n", "no rows"),
        ("", "no tab-separated table"),
    ):
        covariates.write_text(content)
        with pytest.raises(DataError, match=expected):
            found_in(release)
    covariates.unlink()
    with pytest.raises(DataError, match="Cannot read .*No such file"):
        found_in(release)


def test_a_release_with_a_leak_does_not_appear(tmp_path: Path) -> None:
    results = make_results(tmp_path)
    pack_all(results)
    report = results / "report.json"
    report.write_text(report.read_text().replace("two scales", "as in scan ukb-1000012"))
    with pytest.raises(DataError, match=r"README\.md: text: id of a training participant, 'ukb-1000012'"):
        make_the_release(results)
    assert not (results / "release").exists()
    assert not list(results.glob(".*"))
