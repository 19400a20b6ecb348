"""SIGTERM ends with the status that asks to be started again, even where a library makes another error of it."""

import os
import signal

import pytest

from brainldm.core.requeue import REQUEUE, requeued


def test_sigterm_ends_with_its_status() -> None:
    with pytest.raises(SystemExit) as ended, requeued():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == REQUEUE
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def reader() -> None:
    """A library that takes whatever ends it for a damaged file."""
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    except SystemExit:
        raise ValueError("a damaged file") from None


def test_sigterm_that_a_library_takes_for_a_damaged_file_is_sigterm() -> None:
    with pytest.raises(SystemExit) as ended, requeued():
        reader()
    assert ended.value.code == REQUEUE


def test_other_errors_pass() -> None:
    with pytest.raises(ValueError, match="other"), requeued():
        raise ValueError("other")
