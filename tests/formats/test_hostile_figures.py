"""Statistics and provenance of strangers: each fault is one line that names file and field, before memory is taken."""

import io
import json
import os
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bounded import refusal
from scans import TINY

from brainldm.core.files import write_json
from brainldm.formats import dataset, evaluation

SOUND: dict[str, Any] = {"mu": np.zeros(3), "sigma": np.eye(3), "n": 10, "features": "features"}


def arrays(**changes: Any) -> Callable[[Path], None]:
    """Sound statistics, changed; `...` leaves an array out."""
    values = {name: value for name, value in {**SOUND, **changes}.items() if value is not ...}
    return lambda path: np.savez_compressed(path, **values)


def packed(member: bytes, **others: bytes) -> Callable[[Path], None]:
    """An archive whose `sigma` has these bytes."""

    def write(path: Path) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(3))
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name in SOUND:
                archive.writestr(f"{name}.npy", member if name == "sigma" else buffer.getvalue())
            for name, content in others.items():
                archive.writestr(name, content)

    return write


def claims(shape: str) -> bytes:
    """An array of the format NPY that claims a shape and has no numbers."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(118) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


REFERENCES: dict[str, tuple[Callable[[Path], None], str]] = {
    "a bomb of zeros": (packed(bytes(2**29)), "unpacks to more"),
    "a terabyte that is not there": (packed(claims("(400000, 400000)")), "none that can be read"),
    "a shape that is code": (packed(claims("__import__('os').system('touch mark')")), "none that can be read"),
    "an object": (arrays(mu=np.array([{"a": 1}], object)), "none that can be read"),
    "no mean": (arrays(mu=...), "other arrays"),
    "one array more": (arrays(program=np.zeros(1)), "other arrays"),
    "a member out of the folder": (packed(claims("(3,)"), **{"../../mark": b"x"}), "other arrays"),
    "a mean of two axes": (arrays(mu=np.zeros((3, 3))), r"mu \[D\]"),
    "a covariance of other features": (arrays(sigma=np.eye(4)), r"sigma \[D, D\]"),
    "numbers that are texts": (arrays(mu=np.array(["a", "b", "c"])), r"mu \[D\]"),
    "a mean that is not a number": (arrays(mu=np.full(3, np.nan)), "not finite"),
    "an infinite covariance": (arrays(sigma=np.full((3, 3), np.inf)), "not finite"),
    "one volume": (arrays(n=1), "at least 2"),
    "a negative number of volumes": (arrays(n=-5), "at least 2"),
    "half a volume": (arrays(n=2.5), "number n"),
    "numbers of volumes": (arrays(n=np.array([2, 3])), "number n"),
    "features with escape sequences": (arrays(features="\x1b[31mred\n"), r"\\x1b\[31mred"),
    "features of bytes": (arrays(features=b"features"), "of the features"),
    "a text": (lambda path: path.write_text("mu") and None, "none that can be read"),
    "an empty file": (lambda path: path.write_bytes(b"") and None, "empty"),
    "a named pipe": (os.mkfifo, "a named pipe"),
    "a device": (lambda path: path.symlink_to("/dev/zero"), "a device"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFERENCES)
def test_hostile_statistics_are_one_line(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write, words = REFERENCES[case]
    path = tmp_path / "reference.npz"
    write(path)
    said = refusal(lambda: evaluation.read_reference(path, "features"))
    assert str(path) in said
    assert re.search(words, said), said
    assert not (tmp_path / "mark").exists()


def provenance() -> dict[str, Any]:
    """What a release says of how its rows were made."""
    section = TINY.generate.model_dump(mode="json")
    given = {"stage": "generate", "seed": 1, "precision": "32-true", "grid": TINY.grid.model_dump(mode="json"), "section": section}
    machine = {"precision": "32-true", "device": "CPU, AVX2", "versions": {"torch": "2"}, "shards": ["000000-000003"]}
    return {"section": given, "weights_sha256": {"autoencoder": "0" * 64, "diffusion": "1" * 64}, "made_on": [machine]}


PROVENANCES: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "a program": (lambda told: told.update(program="./evil"), "program: Extra"),
    "no section": (lambda told: told.pop("section"), "section: missing"),
    "a section that is a path": (lambda told: told.update(section="/etc/passwd"), "section: "),
    "a precision of nobody's": (lambda told: told["section"].update(precision="os.system"), r"section\.precision"),
    "a sampler of nobody's": (lambda told: told["section"]["section"].update(sampler="os.system"), "sampler"),
    "a trillion steps": (lambda told: told["section"]["section"].update(steps=10**12), "steps"),
    "a billion volumes at once": (lambda told: told["section"]["section"].update(batch_size=10**9), "batch_size"),
    "a grid of petabytes": (lambda told: told["section"]["grid"].update(shape=[10**6] * 3), r"section\.grid\.shape\.0"),
    "a checksum that is a path": (lambda told: told["weights_sha256"].update(diffusion="../x"), r"weights_sha256\.diffusion"),
    "a checksum of another's": (lambda told: told["weights_sha256"].update({"\x1b[31m": "0" * 64}), r"weights_sha256\.\\x1b"),
    "no machine": (lambda told: told.update(made_on=[]), "made_on: "),
    "a machine without shards": (lambda told: told["made_on"][0].pop("shards"), r"made_on\.0\.shards: missing"),
    "a shard that is a path": (lambda told: told["made_on"][0].update(shards=["../../x"]), r"made_on\.0\.shards\.0"),
    "a device with escape sequences": (lambda told: told["made_on"][0].update(device=["\x1b]0;owned\x07"]), r"made_on\.0\.device"),
    "a device of 1 MB": (lambda told: told["made_on"][0].update(device="x" * 10**6), r"made_on\.0\.device"),
}  # fmt: skip


def read_machine(path: Path) -> dict[str, Any]:
    return dataset.read_provenance(path)


@pytest.mark.parametrize("case", PROVENANCES)
def test_a_hostile_provenance_is_one_line(case: str, tmp_path: Path) -> None:
    change, words = PROVENANCES[case]
    told = provenance()
    change(told)
    write_json(tmp_path / "provenance.json", told)
    said = refusal(lambda: read_machine(tmp_path / "provenance.json"))
    assert str(tmp_path / "provenance.json") in said
    assert re.search(words, said), said


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[" * 100_000, "nested"),
        ("[1]", "provenance.json"),
        ('{"section": 1, "section": 2}', "twice"),
        (json.dumps(provenance()).replace("32-true", "32-true", 1).replace('"seed": 1', '"seed": NaN'), "NaN"),
        ('{"seed": ' + "9" * 5000 + "}", "no JSON"),
        ("", "empty"),
    ],
)
def test_a_provenance_that_is_no_plain_json_is_one_line(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text(text)
    assert re.search(words, refusal(lambda: read_machine(tmp_path / "provenance.json")))


def test_the_sound_ones_are_taken(tmp_path: Path) -> None:
    write_json(tmp_path / "provenance.json", provenance())
    assert read_machine(tmp_path / "provenance.json") == provenance()
    np.savez_compressed(tmp_path / "reference.npz", **SOUND)
    assert evaluation.read_reference(tmp_path / "reference.npz", "features")[2] == 10
