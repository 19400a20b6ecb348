from pathlib import Path

import numpy as np
import pytest

from brainldm.commands.request_key import main
from brainldm.core import request_key
from brainldm.core.errors import DataError


def test_a_key_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    keys = []
    for name in ("mine", "yours"):
        path = tmp_path / "private" / f"{name}.key"
        main(path)
        text = path.read_text()
        main(path)
        assert path.read_text() == text
        assert path.stat().st_mode & 0o777 == 0o600
        keys.append(request_key.read(path))
    assert len({*keys, request_key.DEMO_KEY}) == 3


def test_a_key_keys_a_rows_random_numbers_with_seed_and_index() -> None:
    def first(key: bytes, seed: int, index: int) -> float:
        return request_key.row_generator(key, seed, index).random()

    key = bytes(32)
    assert first(key, 1, 2) == first(key, 1, 2)
    assert len({first(key, 1, 2), first(key, 1, 3), first(key, 2, 2), first(key, 12, 2), first(bytes(31) + b"1", 1, 2)}) == 5
    drawn = np.array([first(key, 1, index) for index in range(2_000)])
    assert np.histogram(drawn, 4, (0, 1))[0] / 2_000 == pytest.approx([0.25] * 4, abs=0.04)


@pytest.mark.parametrize("content", [None, "", "abc", "0" * 63, "z" * 64, "0" * 65])
def test_a_file_that_holds_no_key_is_refused_and_kept(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "request.key"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"request\.key.*request\.key"):
        request_key.read(path)
    if content is not None:
        with pytest.raises(DataError, match=r"holds no request key"):
            main(path)
        assert path.read_text() == content


def test_a_key_that_others_may_read_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "request.key"
    path.write_text("0" * 64)
    path.chmod(0o644)
    assert request_key.read(path) == bytes(32)
    assert f"chmod 600 {path}" in caplog.text
