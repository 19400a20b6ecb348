"""What an edit runs again, as `brainldm config diff` tells it; the workflow's own answer is tests/test_scale.py."""

from pathlib import Path

import pytest
import yaml

from brainldm.core.changes import sections, touched
from brainldm.core.config import parse

DEMO = yaml.safe_load((Path(__file__).parents[2] / "config.yaml").read_text())


@pytest.mark.parametrize("attempts", [1, 2])
def test_what_judges_rows_is_an_input_of_generate_only_where_they_are_drawn_again(attempts: int) -> None:
    before = {**DEMO, "generate": {**DEMO["generate"], "attempts": attempts}}
    for section, key, value in (("train_age", "steps", 7), ("measure", "quality", {"min_spread": 0.03})):
        after = {**before, section: {**before[section], key: value}}
        again = touched(*(sections(parse(values)) for values in (before, after)), [f"{section}.{key}"])
        assert ("generate" in again) == (attempts > 1)
        assert "measure" in again
