"""Protocols and models folders of strangers: numbers at most; no program, path or module in them is used, each fault is one line."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import yaml
from bounded import refusal
from judged import write_age_model
from protocols import sound_protocol
from scans import TINY, write_section, write_segmenter

from brainldm import protocol, scoring
from brainldm.commands import score
from brainldm.core.files import sha256, write_json
from brainldm.core.grid import Grid
from brainldm.formats import evaluation

Values = dict[str, Any]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder of networks that have learned nothing, a protocol of it, and two volumes that have to be placed."""
    folder = tmp_path_factory.mktemp("sound")
    models = folder / "models"
    years = write_age_model(models / "train_age/model.safetensors")
    ruler = write_segmenter(models / "train_segmenter/model.safetensors")
    for stage in protocol.SECTIONS:
        write_section(models / f"configure/{stage}.json", stage)
    write_json(models / "evaluate/report.json", {"sharpness_real": 0.8, "age_r_real_ci": [0.1, 0.2]})
    evaluation.write_reference(models / "evaluate/reference.npz", np.zeros(3), np.eye(3), 10, "features")
    files = {"age": years, "segmenter": ruler, "reference": models / "evaluate/reference.npz"}
    told = sound_protocol({name: sha256(file) for name, file in files.items()})
    (folder / "protocol.yaml").write_text(yaml.safe_dump(told, sort_keys=False))
    (folder / "volumes").mkdir()
    for name in ("a", "b"):
        volume = nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 20), np.float32), np.diag([9.0, 9, 9, 1]))
        nib.save(volume, folder / f"volumes/{name}.nii")
    return folder


@pytest.fixture
def stranger(sound: Path, tmp_path: Path) -> Path:
    """A copy of it to make hostile, with a program that leaves a mark where it runs."""
    shutil.copytree(sound, tmp_path / "it")
    for name in ("python3", "segmenter", "unires"):
        program = tmp_path / "it" / name
        program.write_text(f"#!{tmp_path}/it/python3\n" if name == "unires" else f"#!/bin/sh\ntouch {tmp_path}/mark\n")
        program.chmod(0o755)
    return tmp_path / "it"


def put(*place: str, value: Any) -> Callable[[Values], None]:
    """Set a value of a protocol; `...` removes it."""

    def change(values: Values) -> None:
        for name in place[:-1]:
            values = values[name]
        if value is ...:
            del values[place[-1]]
        else:
            values[place[-1]] = value

    return change


PROTOCOLS: dict[str, tuple[Callable[[Values], None], str]] = {
    "a command of UniRes": (put("preprocess", "unires_command", value="./unires"), r"preprocess\.unires_command names a file or a program"),
    "a file of features": (put("evaluate", "features", value="/etc/passwd"), r"evaluate\.features names a file"),
    "a file of statistics": (put("evaluate", "reference", value="../../reference.npz"), r"evaluate\.reference names a file"),
    "another backend": (put("preprocess", "backend", value="os.system"), r"preprocess\.backend"),
    "a target to instantiate": (put("measure", "_target_", value="os.system"), r"measure\._target_"),
    "a section of another's": (put("segmenter", value="./segmenter"), "segmenter: Extra"),
    "a path for modules": (put("python_path", value="."), "python_path: Extra"),
    "a section that is a text": (put("evaluate", value="./evaluate.py"), "evaluate: "),
    "no section": (put("measure", value=...), "measure: missing"),
    "no seed": (put("seed", value=...), "seed: missing"),
    "a negative seed": (put("seed", value=-1), "seed: "),
    "a seed in letters": (put("seed", value="os.system"), "seed: "),
    "another precision": (put("precision", value="transformer-engine"), "precision: "),
    "a grid of petabytes": (put("grid", "shape", value=[10**6] * 3), r"grid\.shape\.0"),
    "a grid of gigabytes": (put("grid", "shape", value=[1000, 1000, 1000]), r"grid\.shape: .*voxels"),
    "a grid of no voxels": (put("grid", "shape", value=[0, 0, 0]), r"grid\.shape\.0"),
    "a grid thinner than the window of similarities": (put("grid", "shape", value=[16, 24, 1]), "smaller than the window"),
    "a grid of one side": (put("grid", "shape", value=[16]), r"grid\.shape"),
    "voxels of no size": (put("grid", "spacing_mm", value=0), r"grid\.spacing_mm"),
    "a grid at the end of the world": (put("grid", "center_mm", value=[1e300, 0, 0]), r"grid\.center_mm"),
    "a billion volumes at once": (put("measure", "batch_size", value=10**9), r"measure\.batch_size"),
    "no volumes at once": (put("evaluate", "batch_size", value=0), r"evaluate\.batch_size"),
    "a trillion pairs": (put("evaluate", "ssim_pairs", value=10**12), r"evaluate\.ssim_pairs"),
    "a trillion draws": (put("evaluate", "bootstrap", value=10**12), r"evaluate\.bootstrap"),
    "a grid for registration of an atom": (put("preprocess", "registration_spacing_mm", value=1e-7), r"registration_spacing_mm"),
    "a limit that is not a number": (put("measure", "quality", "icv_ml", value=["nan", "nan"]), r"measure\.quality\.icv_ml\.0"),
    "a limit of three": (put("measure", "quality", "icv_ml", value=[1, 2, 3]), r"measure\.quality\.icv_ml"),
    "a checksum that is a path": (put("sha256", "age", value="/etc/passwd"), r"sha256\.age"),
    "a checksum of another file": (put("sha256", "program", value="0" * 64), r"sha256\.program"),
    "checksums in a list": (put("sha256", value=[1, 2]), "sha256: "),
    "numbers in letters": (put("n", value={"synthetic": "many"}), r"n\.synthetic"),
    "versions in a list": (put("made_with", value=["brainldm"]), "made_with"),
    "another format": (put("protocol", value=2), "protocol: "),
    "other metrics": (put("metrics", "fidelity", "draws", value=1), r"another metrics\.fidelity\.draws"),
    "metrics with escape sequences": (put("metrics", value={"\x1b[31mred\n": 1}), r"another metrics\."),
    "more metrics, with escape sequences": (put("metrics", "\x1b]0;owned\x07", value=1), r"another metrics\.\\x1b\]0;owned\\x07"),
    "a version with escape sequences": (lambda told: told.update(metrics={}, made_with={"brainldm": "\x1b[2J"}), r"take brainldm \\x1b"),
    "a key of escape sequences": (put("\x1b[31mred\x9b", value=1), r"\\x1b\[31mred\\x9b: Extra"),
    "a key of 100,000 letters": (put("x" * 100_000, value=1), "x: Extra|xxx\\.\\.\\."),
}  # fmt: skip


@pytest.mark.parametrize("case", PROTOCOLS)
def test_a_hostile_protocol_is_one_line(case: str, stranger: Path) -> None:
    change, words = PROTOCOLS[case]
    path = stranger / "protocol.yaml"
    told = yaml.safe_load(path.read_text())
    change(told)
    path.write_text(yaml.safe_dump(told, sort_keys=False))
    said = refusal(lambda: protocol.read(path))
    assert str(path) in said
    assert re.search(words, said), said


def scored(stranger: Path, **options: Any) -> str:
    """What `score` says of it; nothing ran, and nothing was written."""
    given = {"models": stranger / "models", **options}
    said = refusal(lambda: score.main(stranger / "volumes", stranger / "out", device="cpu", **given))
    assert not (stranger.parent / "mark").exists(), "a program of the stranger's ran"
    assert not (stranger / "out").exists()
    return said


def test_a_protocol_that_asks_for_unires_runs_nothing(stranger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{stranger}:{os.environ['PATH']}")
    path = stranger / "protocol.yaml"
    path.write_text(path.read_text().replace("backend: greedy", "backend: unires"))
    assert re.search(rf"{path} asks for UniRes .*--unires COMMAND", scored(stranger, protocol_file=path))
    path.write_text(path.read_text().replace("backend: unires", f"backend: unires\n  unires_command: {stranger}/unires"))
    assert "names a file or a program" in scored(stranger, protocol_file=path)


def told(stranger: Path, stage: str, **changes: Any) -> None:
    """A models folder whose settings of a stage are others."""
    path = stranger / f"models/configure/{stage}.json"
    values = json.loads(path.read_text())
    here = {key: value.replace("HERE", str(stranger)) for key, value in changes.items() if isinstance(value, str)}
    values["section"] |= changes | here
    write_json(path, values)


def replaced(name: str, make: Callable[[Path], object]) -> Callable[[Path], None]:
    """A models folder with something else in the place of a file."""

    def change(stranger: Path) -> None:
        path = stranger / "models" / name
        path.unlink()
        make(path)

    return change


def edited(name: str, text: str) -> Callable[[Path], None]:
    return replaced(name, lambda path: path.write_text(text))


def program(path: Path) -> None:
    path.write_text(f"#!/bin/sh\ntouch {path.parents[3]}/mark\n")
    path.chmod(0o755)


def moved_out(path: Path) -> None:
    """A link to a sound file that lies outside of the folder."""
    outside = path.parents[3] / path.parent.name
    shutil.copy(path.parents[1] / "train_age/model.safetensors", outside) if "age" not in path.parent.name else write_age_model(outside)
    path.symlink_to(outside)


def other_grid(stranger: Path) -> None:
    grid = Grid(shape=(32, 32, 32), spacing_mm=5.0, center_mm=(0, -17, 7))
    write_age_model(stranger / "models/train_age/model.safetensors", TINY.model_copy(update={"grid": grid}))


def other_voxels(stranger: Path) -> None:
    grid = TINY.grid.model_copy(update={"spacing_mm": 3.0})
    write_segmenter(stranger / "models/train_segmenter/model.safetensors", TINY.model_copy(update={"grid": grid}))


AGE, RULER = "train_age/model.safetensors", "train_segmenter/model.safetensors"
EVALUATE, PREPROCESS = "configure/evaluate.json", "configure/preprocess.json"
FOLDERS: dict[str, tuple[Callable[[Path], None], str]] = {
    "settings that ask for UniRes": (lambda at: told(at, "preprocess", backend="unires", unires_command="HERE/unires"), "--unires COMMAND"),
    "settings that name a file of features": (lambda at: told(at, "evaluate", features="/dev/zero"), "--features FILE"),
    "settings with a key of nobody's": (lambda at: told(at, "measure", _target_="os.system"), r"measure\.json.*_target_"),
    "settings of a billion volumes": (lambda at: told(at, "evaluate", batch_size=10**9), r"evaluate\.json.*batch_size"),
    "settings of another stage": (edited(EVALUATE, '{"stage": "measure"}'), "evaluate.json"),
    "settings that are a list": (edited(EVALUATE, "[1]"), "evaluate.json"),
    "settings of 100,000 brackets": (edited(EVALUATE, "[" * 100_000), "evaluate.json"),
    "settings that are no text": (replaced(EVALUATE, lambda path: path.write_bytes(b"\xff\xfe")), "evaluate.json"),
    "settings with escape sequences": (lambda at: told(at, "evaluate", **{"\x1b[31mred": 1}), r"evaluate\.json.*\\x1b"),
    "settings in a named pipe": (replaced(EVALUATE, os.mkfifo), "a named pipe"),
    "settings in a folder": (replaced(EVALUATE, Path.mkdir), "a folder"),
    "settings in a device": (replaced(PREPROCESS, lambda path: path.symlink_to("/dev/zero")), "leads out of"),
    "no settings": (replaced(EVALUATE, lambda path: None), "configure/evaluate.json: No such file"),
    "a program as segmenter": (replaced(RULER, program), "train_segmenter"),
    "a segmenter in a named pipe": (replaced(RULER, os.mkfifo), "a named pipe"),
    "a segmenter out of the folder": (replaced(RULER, moved_out), "leads out of"),
    "an age model out of the folder": (replaced(AGE, moved_out), "leads out of"),
    "an age model that is a segmenter": (replaced(AGE, lambda path: shutil.copy(path.parents[1] / RULER, path)), "found 'segmenter'"),
    "an empty age model": (edited(AGE, ""), "train_age"),
    "an age model in a folder": (replaced(AGE, Path.mkdir), "a folder"),
    "an age model of another grid": (other_grid, "this age model reads volumes of"),
    "a segmenter of other voxels": (other_voxels, "this segmenter is of voxels of"),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLDERS)
def test_a_hostile_models_folder_is_one_line_and_runs_nothing(case: str, stranger: Path) -> None:
    change, words = FOLDERS[case]
    change(stranger)
    assert re.search(words, scored(stranger)), scored(stranger)


def test_a_program_of_the_models_folder_is_not_run_as_segmenter(stranger: Path) -> None:
    shutil.copy(stranger / "segmenter", stranger / "models/segmenter")
    assert "no program of a models folder is run" in scored(stranger, segmenter=stranger / "models/segmenter")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"sharpness_real": "\x1b[31mred"}, r"sharpness_real.*\\x1b"),
        ({"sharpness_real \x1b[31m": 1.0}, r"\\x1b"),
        ({"ms_ssim_real": {"a": 1}}, "ms_ssim_real"),
        ({"ms_ssim_real": [1, 2, 3]}, "ms_ssim_real"),
        ([1], "found list"),
    ],
)
def test_figures_of_a_stranger_are_numbers(content: Any, words: str, stranger: Path) -> None:
    write_json(stranger / "models/evaluate/report.json", content)
    said = refusal(lambda: scoring.beside_figures(stranger / "models"))
    assert "report.json" in said
    assert re.search(words, said), said


def test_the_sound_ones_are_taken(sound: Path) -> None:
    frozen = protocol.read(sound / "protocol.yaml")
    bench = scoring.bench(sound / "models", scoring.Programs(), frozen, "cpu")
    assert bench.placing.backend == "greedy"
    assert scoring.beside_figures(sound / "models") == {"sharpness_real": 0.8, "age_r_real_ci": [0.1, 0.2]}
    named = scoring.Programs(unires="unires")
    assert scoring.bench(sound / "models", named, None, "cpu").placing.unires_command == "unires"
