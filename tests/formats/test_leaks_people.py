"""Covariates of one participant, and the lab's key, are found wherever they stand in a release."""

import base64
import json
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from leak_folders import IDS, found_in, make_folder
from leak_plants import arrow, member, packed, parquet, people, put, tar, tensors, torrent, volume

from brainldm.core.errors import DataError


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_folder(tmp_path)


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
    "JSON as pandas writes it": lambda f: put(f, "a.json", long_table().to_json()),
    "YAML of columns": lambda f: put(f, "a.yaml", "".join(f"{name}: {cells.tolist()}\n" for name, cells in long_table().items())),
    "a number a line": lambda f: put(f, "a.md", "".join(f"# {name}\n{cells.to_csv(index=False)}" for name, cells in long_table().items())),
    "a plot's script": lambda f: put(f, "a.html", f"<script>{[f'v={cells.tolist()}' for _, cells in long_table().items()]}</script>"),
    "tensors, one for each covariate": lambda f: put(f, "a.safetensors", tensors(**dict(zip("abc", tall(), strict=True)))),
    "voxels of floats": lambda f: put(f, "v.nii", nib.Nifti1Image(tall()[..., None], np.eye(4)).to_bytes()),
    "voxels of floats, the other way": lambda f: put(f, "v.nii", nib.Nifti1Image(tall().T[..., None], np.eye(4)).to_bytes()),
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


def long_table() -> pd.DataFrame:
    made = people([f"sub-{i + 1:06d}" for i in range(60)], seed=3)[["age_years", "ventricles_ml", "brain_ml"]].round(4)
    made.loc[40] = list(PERSON.values())
    return made


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


def test_processes_find_what_one_finds(person: Path) -> None:
    ROWS["TSV, rounded"](person)
    ROWS["a tensor"](person)
    put(person, "README.md", "see sub-0123")
    assert sorted(found_in(person, jobs=2)) == sorted(found_in(person))
    assert len(found_in(person)) == 3
