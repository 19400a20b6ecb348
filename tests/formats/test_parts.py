from pathlib import Path

import numpy as np
import pytest

from brainldm.formats import parts


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 4)


def _square(part: range) -> dict[str, np.ndarray]:
    return {"square": np.array([place**2 for place in part])}


def test_a_killed_run_goes_on_where_it_was(tmp_path: Path) -> None:
    made = []

    def killed(part: range) -> dict[str, np.ndarray]:
        if part.start == 8 and not made.count(8):
            made.append(8)
            raise KeyboardInterrupt
        made.append(part.start)
        return _square(part)

    keep = parts.Parts(tmp_path / "work", "one")
    with pytest.raises(KeyboardInterrupt):
        keep("squares", 10, killed)
    assert keep("squares", 10, killed)["square"].tolist() == [place**2 for place in range(10)]
    assert made == [0, 4, 8, 8]
    (tmp_path / "work" / "thesis.npz").write_bytes(b"the only copy")
    keep.forget()
    assert [path.name for path in tmp_path.rglob("*")] == ["work", "thesis.npz"]
    (tmp_path / "work" / "thesis.npz").unlink()
    keep.forget()
    assert not (tmp_path / "work").exists()


def test_parts_of_other_inputs_and_damaged_ones_are_made_anew(tmp_path: Path) -> None:
    parts.Parts(tmp_path, "one")("squares", 8, _square)
    double = parts.Parts(tmp_path, "another")("squares", 8, lambda part: {"square": 2 * _square(part)["square"]})
    assert double["square"].tolist() == [2 * place**2 for place in range(8)]
    (tmp_path / "squares_0000004.npz").write_bytes(b"PK\x03\x04 not whole")
    again = parts.Parts(tmp_path, "another")("squares", 8, _square)
    assert again["square"].tolist() == [0, 2, 8, 18, 16, 25, 36, 49]
