"""Every test runs in an empty working folder of its own, and fails if it reads a finished run of the checkout or writes below it.

`python -m brainldm` and Snakemake read and write `results/`, `logs/`, `private/` and `.snakemake` of the working folder: what lies in the
checkout is no input of a test. Processes that a test starts inherit the empty folder; `.ci/run` compares the checkout before and after.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
OF_A_RUN = tuple(str(ROOT / name) + os.sep for name in ("results", "logs", ".snakemake", "private"))
CACHES = tuple(str(ROOT / name) + os.sep for name in (".pytest_cache", ".venv", ".git"))
WRITING_EVENTS = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate", "shutil.rmtree"}
READING_EVENTS = {"os.listdir", "os.scandir"}
seen: list[str] = []


def forbidden(path: str, writes: bool) -> bool:
    """Return True if `path` belongs to a run in the checkout, or lies in the checkout and would be written."""
    if (path + os.sep).startswith(OF_A_RUN):
        return True
    return writes and path.startswith(str(ROOT) + os.sep) and not path.startswith(CACHES) and "__pycache__" not in path


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """Record what a test may not open, list, make or remove; the interpreter calls this before each of them."""
    if event == "open":
        path, _mode, flags = arguments
        writes = bool(isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC))
        named: tuple[object, ...] = (path,)
    elif event == "subprocess.Popen" or event == "os.chdir":
        place = arguments[2] if event == "subprocess.Popen" else arguments[0]
        if isinstance(place, str | os.PathLike) and Path(place).resolve().is_relative_to(ROOT):
            seen.append(f"{event} in {place}")
        return
    elif event in WRITING_EVENTS or event in READING_EVENTS:
        writes = event in WRITING_EVENTS
        named = arguments[:2]
    else:
        return
    for name in named:
        if isinstance(name, str | bytes | os.PathLike):
            path = os.path.abspath(os.fsdecode(name))
            if forbidden(path, writes):
                seen.append(f"{event} {path}")


def pytest_configure(config: pytest.Config) -> None:
    """Watch from before the test files are imported."""
    sys.addaudithook(watch)


@pytest.fixture(autouse=True, scope="session")
def empty_session_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Leave the checkout before fixtures of modules and sessions run."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("session"))
    yield
    os.chdir(before)


@pytest.fixture(autouse=True)
def same_random_numbers() -> None:
    """Start every test from the same global random numbers of torch, whichever tests ran before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(autouse=True)
def empty_working_folder(
    empty_session_folder: None, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Give the test an empty working folder; fail it for what it, or a fixture that it was the first to use, did in the checkout."""
    monkeypatch.chdir(tmp_path_factory.mktemp("cwd"))
    yield
    found = list(dict.fromkeys(seen))
    seen.clear()
    assert not found, f"this test depends on the checkout's own run, or changes the checkout: {found[:5]}"
