"""Errors that people meet: one sentence with cause and remedy on stderr, and exit status 1; never a traceback."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from scans import TINY, write_scans, write_section

from brainldm import __main__ as command_line
from brainldm.core.covariates import ranges_of
from brainldm.core.files import atomic, write_json
from brainldm.formats.manifest import read_manifest
from brainldm.formats.scan import read_scan
from brainldm.models import rows
from brainldm.models.age import AgeModel
from brainldm.models.training import make_fabric

SHAPE, SPACING_MM = (48, 60, 60), 4.0
OUT_OF_MEMORY = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
Case = Callable[[pytest.MonkeyPatch], list[str] | Callable[[], object]]  # fills the working directory; a command's words, or work


def manifest(**changes: object) -> Case:
    """A manifest of eight people, four of them held out; a change is a value for all, or values by line."""

    def work(_: pytest.MonkeyPatch) -> Callable[[], object]:
        write_manifest(**changes)
        return lambda: read_manifest(Path("scans.tsv"))

    return work


def write_manifest(n: int = 8, **changes: object) -> None:
    columns = {
        "participant_id": [f"sub-{i}" for i in range(n)],
        "t1w": [f"{i}.nii.gz" for i in range(n)],
        "age_years": [50 + i for i in range(n)],
        "sex": ["FM"[i % 2] for i in range(n)],
        "split": ["train" if i < n // 2 else "test" for i in range(n)],
        **{name: value if isinstance(value, list) else [value] * n for name, value in changes.items()},
    }
    lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in zip(*columns.values(), strict=True))]
    Path("scans.tsv").write_text("\n".join(lines) + "\n")


def project(n: int = 8, **changes: object) -> Case:
    """`brainldm run` in a project whose manifest is at fault: told before anything is started."""

    def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
        call(monkeypatch, ["init", "."])
        write_manifest(n, **changes)
        for i in range(n):
            Path(f"{i}.nii.gz").write_bytes(f"scan {i}".encode())
        return ["run", "--dry-run"]

    return words


def other_version(monkeypatch: pytest.MonkeyPatch) -> Any:
    write_json(Path("results/format.json"), {"format": 99, "brainldm": "9.9.0"})
    return project()(monkeypatch)


def head(volume_of: Callable[[np.ndarray], np.ndarray], skull_stripped: bool) -> Case:
    """`brainldm doctor` on ellipsoids: `volume_of` of places [3,I,J,K] in mm, the middle 0."""

    def words(monkeypatch: pytest.MonkeyPatch) -> list[str]:
        project()(monkeypatch)
        text = Path("config.yaml").read_text().replace("skull_stripped: false", f"skull_stripped: {str(skull_stripped).lower()}")
        Path("config.yaml").write_text(text)
        place = (np.indices(SHAPE) - (np.array(SHAPE).reshape(3, 1, 1, 1) - 1) / 2) * SPACING_MM
        volume = 500 * volume_of(place) * np.random.default_rng(0).uniform(0.5, 1, SHAPE) + np.random.default_rng(1).uniform(0, 5, SHAPE)
        for i in range(8):
            volume[i, 0, 0] += 1  # no two are copies
            nib.save(nib.Nifti1Image(volume.astype(np.float32), np.diag([SPACING_MM] * 3 + [1])), f"{i}.nii.gz")
        return ["doctor", "--config", "config.yaml", "--sample", "1", "--memory-gb", "64"]

    return words


def brain(place: np.ndarray) -> np.ndarray:
    """1500 mL."""
    return np.asarray((place / np.array([65, 85, 65]).reshape(3, 1, 1, 1)) ** 2).sum(0) < 1


def whole(place: np.ndarray) -> np.ndarray:
    """With a face below, as far in front as the forehead."""
    return np.asarray((np.abs(place / np.array([75, 95, 108]).reshape(3, 1, 1, 1)) ** 4).sum(0) < 1)


def defaced(place: np.ndarray) -> np.ndarray:
    return whole(place) & ~((place[2] < 0) & (place[1] > 10))


def bids(*, sessions: str = "", linked: str = "", twice: bool = False) -> Case:
    """`brainldm manifest bids` on two people: `linked` is what the second's scan is a symbolic link to."""

    def words(_: pytest.MonkeyPatch) -> list[str]:
        for i in (1, 2):
            scan = Path(f"bids/sub-{i}/anat/sub-{i}_T1w.nii.gz")
            scan.parent.mkdir(parents=True)
            scan.write_bytes(f"scan {i}".encode()) if i == 1 or not linked else scan.symlink_to(linked)
        people = "participant_id\tage\tsex\nsub-1\t50\tF\nsub-2\t60\tM\n" + ("sub-1\t51\tF\n" if twice else "")
        Path("bids/participants.tsv").write_text(people)
        return ["manifest", "bids", "bids", "--out", "made.tsv"]

    return words


def full_disk() -> None:
    """The kernel's own device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("wb", buffering=0) as handle:
        handle.write(b"a")


def fills_while_writing() -> None:
    with atomic(Path("out.bin")) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.bin")


def read_only() -> None:
    """A folder in which nobody may make a file, root included."""
    if not Path("/sys/kernel").exists():
        pytest.skip("no /sys on this system")
    Path("/sys/kernel/brainldm").write_bytes(b"a")


def no_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    make_fabric("cuda", "auto", 0)


def empty_scan() -> None:
    Path("scan.nii.gz").write_bytes(b"")
    read_scan(Path("scan.nii.gz"))


def no_manifest(monkeypatch: pytest.MonkeyPatch) -> Any:
    words = project()(monkeypatch)
    Path("scans.tsv").unlink()
    return words


def just(work: Callable[[], object]) -> Case:
    return lambda _: work


def training_without_memory(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stage itself, whose network finds no room."""
    section = write_section(Path("train_age.json"), "train_age")
    scans = write_scans(Path("scans"), TINY.grid, 8)
    monkeypatch.setattr(AgeModel, "forward", raises(OUT_OF_MEMORY))
    return ["train_age", f"--section={section}", f"--covariates={scans}", "--out=model.safetensors", "--device=cpu"]


def sampling_without_memory(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(rows, "sample_latents", raises(OUT_OF_MEMORY))
    person = ["--age=70", "--sex=F", "--ventricles-ml=45", "--brain-ml=1560"]
    return ["sample", *person, "--out=made", "--device=cpu"]


def raises(error: Exception) -> Callable[..., None]:
    def work(*_: object, **__: object) -> None:
        raise error

    return work


VARIES = "covariates.tsv: expected sex to vary over the training scans, found one value for all; add scans of others"
CASES: dict[str, tuple[Case, str]] = {
    "no GPU": (just(no_gpu), "device: expected a GPU, found none that torch can use; set device to cpu or auto"),
    "GPU memory, training": (training_without_memory, "its memory full; lower train_age.batch_size, or raise train_age.accumulate"),
    "GPU memory, sampling": (sampling_without_memory, "sample: expected room on the GPU, found its memory full; lower --batch-size"),
    "full disk": (just(full_disk), "found that it fails (No space left on device); free some space and start again"),
    "disk that fills": (just(fills_while_writing), "out.bin: expected to write there, found that it fails (No space left on device)"),
    "read-only output": (just(read_only), "/sys/kernel/brainldm: expected to write there, found that it fails ("),
    "too few scans": (project(4), "2 scans are in the split train, too few for any figure, which needs 3; add scans, or choose"),
    "no held-out scans": (project(split="train"), "no scan is in the split test; choose another --held-out of `brainldm manifest`"),
    "one sex": (project(sex="F"), "sex is the same for all training scans: no model can be conditioned on it; add scans of others"),
    "constant covariate": (just(lambda: ranges_of(np.ones((3, 4)), "covariates.tsv")), VARIES),
    "another version": (other_version, "results/format.json: expected results of format 2, as brainldm 0.1.0 writes them, found format 99"),
    "ages in days": (
        manifest(age_years=18262),
        "age_years: expected a number of years, found '18262'; if these are days, divide by 365.25",
    ),
    "ages in months": (manifest(age_years=600), "found '600'; if these are days, divide by 365.25; if months, by 12"),
    "volumes in mm3": (manifest(ventricles_ml=20123), "ventricles_ml: expected mL between 0 and 5000, or nothing, found '20123'; if these"),
    "participant twice": (manifest(participant_id="sub-1", split="train"), "line 3: participant_id: sub-1 stands on line 2 already"),
    "scan twice": (manifest(t1w="a.nii.gz"), "line 3: t1w: a.nii.gz stands on line 2 already"),
    "participant twice, BIDS": (
        bids(twice=True),
        "participant_id: sub-1 stands on lines 2 and 4; which is meant cannot be known. Keep one.",
    ),
    "link to nothing": (
        bids(linked="../annex/lost"),
        "a symbolic link to ../annex/lost, which is not there; get its content (`datalad get`)",
    ),
    "two names of a scan": (bids(linked="../../sub-1/anat/sub-1_T1w.nii.gz"), "sub-1_T1w.nii.gz, by a symbolic link; keep one of the two"),
    "skull-stripped": (head(brain, False), "it shows a brain without its skull (1"),
    "not skull-stripped": (head(whole, True), "it shows a head with its skull ("),
    "truncated scan": (just(empty_scan), "scan.nii.gz: expected a NIfTI or MGH image, found 0 bytes"),
    "lost scan": (just(lambda: read_scan(Path("lost.nii.gz"))), "lost.nii.gz: expected a scan, found no file"),
    "no manifest": (no_manifest, "scans.tsv: expected a table, found none"),
}


def call(monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    """The command line in this process; it ends with SystemExit, whatever comes of it."""
    monkeypatch.setattr(sys, "argv", ["brainldm", *words])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert not ended.value.code


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_one_sentence_and_status_1(tmp_path, monkeypatch, capsys, name):
    case, sentence = CASES[name]
    monkeypatch.chdir(tmp_path)
    asked = case(monkeypatch)
    if callable(asked):
        monkeypatch.setattr(command_line, "application", lambda _: asked)
    monkeypatch.setattr(sys, "argv", ["brainldm", *(["encode"] if callable(asked) else asked)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    found = ended.value.code  # a text goes to stderr, and the status is 1
    assert isinstance(found, str) or found == 1
    assert found == 1 or found.startswith("brainldm: error: ")
    assert sentence in (found if isinstance(found, str) else " ".join(capsys.readouterr().out.split()))
    assert not [
        path for path in tmp_path.rglob("*") if path.name.startswith(".tmp") or path.name in ("out.bin", "model.safetensors", "made.tsv")
    ]


def test_a_defaced_scan_is_a_warning(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    call(monkeypatch, head(defaced, False)(monkeypatch))
    assert "behind its forehead: it was defaced" in " ".join(capsys.readouterr().out.split())


def test_scans_are_only_read(tmp_path, monkeypatch):
    """A folder that may only be read is enough, and a symbolic link to a scan as good as the scan."""
    monkeypatch.chdir(tmp_path)
    bids()(monkeypatch)
    Path("bids/sub-2/anat").rename("elsewhere")
    Path("bids/sub-2/anat").symlink_to(tmp_path / "elsewhere")
    for path in [*Path("bids").rglob("*"), Path("bids")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in Path("bids").rglob("*")}
    call(monkeypatch, ["manifest", "bids", "bids", "--out", "made.tsv"])
    assert len(read_manifest(Path("made.tsv"))) == 2
    assert {path: path.stat().st_mtime_ns for path in Path("bids").rglob("*")} == before


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["brainldm", "encode"])
    monkeypatch.setattr(command_line, "application", lambda _: lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        command_line.main()
