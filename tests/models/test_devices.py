"""Which GPU a worker takes; no GPU is needed, only their names."""

from pathlib import Path

import pytest
import torch

from brainldm.models import devices


def test_every_worker_takes_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "gpu_names", lambda: ["gpu-a", "gpu-b"])
    with devices.taken("cuda", tmp_path) as first, devices.taken("auto", tmp_path) as second:
        assert (first, second) == ("cuda:0", "cuda:1")
        with devices.taken("cpu", tmp_path) as third, devices.taken("cuda:0", tmp_path) as fourth:
            assert (third, fourth) == ("cpu", "cuda:0")  # what is named is taken as it is
    with devices.taken("cuda", tmp_path) as device:
        assert device == "cuda:0"
    assert {path.name for path in tmp_path.iterdir()} == {"gpu-a.lock", "gpu-b.lock"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_nothing_is_locked(tmp_path: Path) -> None:
    with devices.taken("auto", tmp_path) as device:
        assert device == "auto"
    assert not list(tmp_path.iterdir())


def test_a_device_class_says_what_computes_alike() -> None:
    assert devices.device_class(torch.device("cpu")).startswith("CPU, ")
    assert {"brainldm", "torch", "numpy", "isal"} <= set(devices.versions())
