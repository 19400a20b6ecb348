"""Statistics and tables that `score` is given: a stranger's reference.npz and table are refused before they fill a memory."""

import io
import os
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from watched import watched

from brainldm.core.errors import DataError
from brainldm.formats.evaluation import read_reference, write_reference
from brainldm.formats.foreign import volumes_of

SOON_S = 10.0


def member(header: str, content: bytes = b"") -> bytes:
    text = header.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + content


def saved(**arrays: object) -> dict[str, bytes]:
    found = {}
    for name, array in arrays.items():
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=True)
        found[name] = buffer.getvalue()
    return found


SOUND = saved(mu=np.zeros(4), sigma=np.eye(4), n=7, features="ours")
BAD = {
    "4 GB of zeros": {"sigma": member("{'descr': '<f8', 'fortran_order': False, 'shape': (1, 536870912), }", bytes(1 << 24))},
    "2^60 values": {"mu": member("{'descr': '<f8', 'fortran_order': False, 'shape': (1152921504606846976,), }")},
    "a side below zero": {"mu": member("{'descr': '<f8', 'fortran_order': False, 'shape': (-5,), }")},
    "pickles": saved(mu=np.array([{}, []], object)),
    "a text of 1 GB": {"features": member("{'descr': '<U268435456', 'fortran_order': False, 'shape': (), }")},
    "a header that is a program": {"mu": member("__import__('os').system('touch pwned')")},
    "other sides": saved(sigma=np.eye(5)),
    "nan": saved(mu=np.full(4, np.nan)),
    "texts": saved(mu=np.array(list("abcd"))),
    "escapes as features": saved(features="\x1b[2J"),
    "no member": {"mu": b""},
}


@pytest.mark.parametrize("name", BAD)
def test_a_hostile_reference_is_one_error(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with zipfile.ZipFile("reference.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for key, content in {**SOUND, **BAD[name]}.items():
            archive.writestr(f"{key}.npy", content)
    outcome = watched(partial(read_reference, Path("reference.npz"), "ours"))
    assert outcome.fault == ""
    assert "reference.npz" in outcome.error
    assert outcome.error.isprintable()
    assert outcome.cpu_seconds < SOON_S
    assert not Path("pwned").exists()


def test_a_reference_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_reference(tmp_path / "a.npz", np.arange(3.0), np.eye(3), 9, "ours")
    mean, covariance, n = read_reference(tmp_path / "a.npz", "ours")
    assert (mean.tolist(), covariance.tolist(), n) == ([0, 1, 2], np.eye(3).tolist(), 9)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(DataError, match=r"pipe\.npz: it is a named pipe"):
        read_reference(tmp_path / "pipe.npz", "ours")


@pytest.mark.parametrize("kind", ["lists", "a long text", "out", "pipe", "zero"])
def test_a_hostile_set_of_volumes_is_one_error(kind: str, tmp_path: Path) -> None:
    folder, table = tmp_path / "set", tmp_path / "table.parquet"
    folder.mkdir()
    (folder / "a.nii.gz").write_bytes(b"")
    named = "table.parquet"
    if kind == "lists":
        pq.write_table(pa.table({"path": [["a.nii.gz"]]}), table)
    elif kind == "a long text":
        texts = pa.DictionaryArray.from_arrays(pa.array([0] * 400_000, pa.int32()), pa.array(["x" * 4000]))
        pq.write_table(pa.table({"path": texts}), table)
    else:
        (folder / "a.nii.gz").unlink()
        named = "a.nii.gz"
        (tmp_path / "secret.nii.gz").write_bytes(b"private")
        put = {"out": tmp_path / "secret.nii.gz", "zero": Path("/dev/zero")}
        os.mkfifo(folder / "a.nii.gz") if kind == "pipe" else (folder / "a.nii.gz").symlink_to(put[kind])
    outcome = watched(partial(volumes_of, folder, table if named == "table.parquet" else None))
    assert outcome.fault == ""
    assert named in outcome.error
    assert outcome.cpu_seconds < SOON_S
