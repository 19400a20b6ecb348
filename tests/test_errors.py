"""Errors that people meet: one sentence with cause and remedy on stderr, and exit status 1; never a traceback."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from brainldm import __main__ as command_line
from brainldm.core.config import Source
from brainldm.core.covariates import ranges_of
from brainldm.core.files import atomic
from brainldm.core.rows import count_scans
from brainldm.formats.manifest import read_manifest
from brainldm.formats.scan import read_scan
from brainldm.models.training import make_fabric

HEADER = "participant_id\tt1w\tage_years\tsex\tsplit\tventricles_ml\n"
GOOD = "sub-1\ta.nii.gz\t50\tF\ttrain\t20\n"


def manifest(*lines):
    def read():
        Path("scans.tsv").write_text(HEADER + "".join(lines))
        read_manifest(Path("scans.tsv"))

    return read


def full_disk():
    """The kernel's own device that is always full."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with Path("/dev/full").open("wb", buffering=0) as handle:
        handle.write(b"a")


def fills_while_writing():
    with atomic(Path("out.bin")) as temporary:
        temporary.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.bin")


def no_memory():
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def no_gpu():
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    make_fabric("cuda", "auto", 0)


def empty_scan():
    Path("scan.nii.gz").write_bytes(b"")
    read_scan(Path("scan.nii.gz"))


CASES = {
    "no GPU": (no_gpu, "device: expected a GPU, found none that torch can use; set device to cpu or auto"),
    "GPU memory": (no_memory, "its memory full; lower train_diffusion.batch_size, or raise train_diffusion.accumulate"),
    "full disk": (full_disk, "found that it fails (No space left on device); free some space and start again"),
    "disk that fills": (fills_while_writing, "out.bin: expected to write there, found that it fails (No space left on device)"),
    "no scans": (manifest(), "scans.tsv: expected a scan on line 2, found the end of the table"),
    "no manifest": (lambda: count_scans("lost.tsv"), "source.manifest: expected a TSV of scans, found none at 'lost.tsv'"),
    "constant covariate": (lambda: ranges_of(np.ones((3, 4)), "covariates.tsv"), "covariates.tsv: expected sex to vary over the training"),
    "ages in days": (
        manifest(GOOD.replace("50", "18262")),
        "age_years: expected a number of years, found '18262'; if these are days, divide",
    ),
    "volumes in mm3": (manifest(GOOD.replace("\t20\n", "\t20123\n")), "found '20123'; if these are mm3, divide by 1000"),
    "participant twice": (manifest(GOOD, GOOD.replace("a.nii", "b.nii")), "line 3: participant_id: sub-1 stands on line 2 already"),
    "scan twice": (manifest(GOOD, GOOD.replace("sub-1", "sub-2")), "line 3: t1w: a.nii.gz stands on line 2 already"),
    "truncated scan": (empty_scan, "scan.nii.gz: expected"),
    "lost scan": (lambda: read_scan(Path("lost.nii.gz")), "lost.nii.gz: expected a scan, found no file"),
}


def run(monkeypatch, case, word="train_diffusion"):
    monkeypatch.setattr(sys, "argv", ["brainldm", word])
    monkeypatch.setattr(command_line, "application", lambda wanted: case)
    command_line.main()


@pytest.mark.parametrize("name", CASES)
def test_an_error_is_one_sentence_and_status_1(tmp_path, monkeypatch, name):
    case, sentence = CASES[name]
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(monkeypatch, case)
    told = str(ended.value.code)  # sys.exit of a text: it goes to stderr, and the status is 1
    assert told.startswith("brainldm: error: ")
    assert sentence in told
    assert not {path.name for path in tmp_path.iterdir()} - {"scans.tsv", "scan.nii.gz"}


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch):
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, lambda: 1 / 0)


def test_the_source_without_a_manifest_says_what_to_name():
    with pytest.raises(ValueError, match=r"source\.manifest must name a TSV file"):
        Source(kind="manifest")
