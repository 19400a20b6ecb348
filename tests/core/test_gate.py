from pathlib import Path

import pytest

from brainldm.core.errors import DataError
from brainldm.core.gate import PASSED, pass_audit

REPORT = Path("results/evaluate/report.json")


def test_a_report_that_passed_goes_through_unchanged() -> None:
    assert pass_audit({"audit": PASSED, "fid": 1.0}, REPORT, None) == {"audit": PASSED, "fid": 1.0}


@pytest.mark.parametrize("report", [{"audit": "copies found"}, {"audit": "not enough data"}, {}])
def test_anything_else_is_refused_unless_a_reason_is_written_and_then_the_reason_is_published(report: dict) -> None:
    with pytest.raises(DataError, match=r"report\.json: expected the privacy audit .* release\.despite_audit"):
        pass_audit(report, REPORT, None)
    assert pass_audit(report, REPORT, "all scans are public anyway")["released_despite_audit"] == "all scans are public anyway"
