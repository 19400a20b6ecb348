from pathlib import Path

import pytest

from brainldm.core.errors import DataError
from brainldm.core.gate import NO_LEAK, PASSED, audits, pass_audit

REPORT = Path("results/evaluate/report.json")
GOOD = audits("latents")


def test_a_report_that_passed_goes_through_unchanged() -> None:
    for packaging in ("files", "tars", "latents"):
        assert pass_audit({**GOOD, "fid": 1.0}, REPORT, None, packaging) == {**GOOD, "fid": 1.0}


@pytest.mark.parametrize("failed", [{"audit": "copies found"}, {"audit": "not enough data"}, {"membership_images": "not enough data"}])
def test_anything_else_is_refused_unless_a_reason_is_written_and_then_the_reason_is_published(failed: dict) -> None:
    for report in ({}, {"audit": PASSED}, {"membership_images": NO_LEAK}, {**GOOD, **failed}):
        with pytest.raises(DataError, match=r"report\.json: a privacy audit has not passed .* release\.despite_audit"):
            pass_audit(report, REPORT, None)
        assert pass_audit(report, REPORT, "all scans are public anyway")["released_despite_audit"] == "all scans are public anyway"


def test_the_autoencoder_is_asked_about_where_latents_and_their_decoder_are_published() -> None:
    report = {**GOOD, "membership_autoencoder": "training scans can be told", "membership_diffusion": "training scans can be told"}
    assert "released_despite_audit" not in pass_audit(report, REPORT, None, "files")
    with pytest.raises(DataError, match=r"membership_autoencoder says 'training scans can be told'\)"):
        pass_audit(report, REPORT, None, "latents")
