"""Anything of a training scan that is planted in a release is found and named; innocent releases pass."""

import json
import os
import struct
import tarfile
import zipfile
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer
from leak_folders import IDS, found_in, make_folder
from leak_plants import FORMS, SPELLINGS, arrow, member, packed, parquet, people, picture, put, tar, tensors, torrent, volume
from release_files import make_results, pack_all
from release_files import release as make_the_release

from brainldm.commands import leak_check
from brainldm.core.errors import DataError
from brainldm.formats.leaks.check import check, findings


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


@pytest.mark.parametrize("form", FORMS)
def test_an_id_is_found_in_every_form(release: Path, form: str) -> None:
    FORMS[form](release, "sub-0123")
    assert any("'sub-0123'" in line for line in found_in(release))


@pytest.mark.parametrize("label", ["0123", "1000027"])
def test_a_bare_label_is_found_in_every_form(tmp_path: Path, label: str) -> None:
    people(IDS).to_csv(tmp_path / "covariates.tsv", sep="\t", index=False)
    for place, form in enumerate(FORMS):
        (tmp_path / f"release{place}").mkdir()
        FORMS[form](tmp_path / f"release{place}", label)
        found = [str(finding) for finding in findings(tmp_path / f"release{place}", tmp_path / "covariates.tsv")]
        assert any("'sub-0123'" in line or "'1000027'" in line for line in found), form


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("value", ["sub-0123", "ukb-1000012", "sub-NDARINV003RTV85"])
def test_an_id_is_found_in_every_spelling(release: Path, spelling: str, value: str) -> None:
    put(release, "README.md", f"see {SPELLINGS[spelling](value)} there")
    assert any(f"'{value}'" in line for line in found_in(release))


def odd_mode(folder: Path) -> None:
    made = bytearray(tar([member()], [b"{}"]))
    made[100:108] = b"%07o\0" % 1000027
    made[148:156] = b"%06o\0 " % sum(made[:148] + b" " * 8 + made[156:512])
    put(folder, "s.tar", bytes(made))


AS_NUMBERS = {
    "tensor of 64 bits": lambda f: put(f, "a.safetensors", tensors(x=np.array([1000027, 1000030], np.int64))),
    "tensor of floats": lambda f: put(f, "a.safetensors", tensors(x=np.array([0.5, 1000027], np.float32))),
    "voxels": lambda f: put(f, "v.nii", nib.Nifti1Image(np.full((2, 2, 2), 1000027, np.int32), np.eye(4)).to_bytes()),
    "PNG gamma": lambda f: put(f, "a.png", gamma(1000027)),
    "tar mode": odd_mode,
}


def gamma(value: int) -> bytes:
    chunk = b"gAMA" + struct.pack(">I", value)
    made = picture()
    return made[:33] + struct.pack(">I", 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + made[33:]


@pytest.mark.parametrize("form", AS_NUMBERS)
def test_an_id_is_found_as_a_binary_number(release: Path, form: str) -> None:
    AS_NUMBERS[form](release)
    assert any("'1000027'" in line for line in found_in(release))


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
    planted = ["/home/mueller7/x", "file:///home/mueller7", "C:\\Users\\mueller7\\a", "node-17.example", "%2Fhome%2Fmueller7"]
    planted += [str(release.parent / "a.nii")]
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
    spoilt = {"a\tb\n1\t2\n": "no column participant_id", "participant_id\n": "no rows", "": "no tab-separated table"}
    for content, expected in spoilt.items():
        covariates.write_text(content)
        with pytest.raises(DataError, match=expected):
            found_in(release)
    covariates.unlink()
    with pytest.raises(DataError, match=r"Cannot read .*No such file"):
        found_in(release)


def test_a_release_with_a_leak_does_not_appear(tmp_path: Path) -> None:
    results = make_results(tmp_path, authors=["A lab", "who scanned ukb-1000012"])
    pack_all(results)
    with pytest.raises(DataError, match=r"id of a training participant, 'ukb-1000012'\. This must not be published"):
        make_the_release(results)
    assert not (results / "release").exists()
    assert not list(results.glob(".*"))
