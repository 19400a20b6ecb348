"""Is the generator sound? Each way to fail has the figure that shows it; limits are the real data's own value, with some room (ours).

Similarity is judged against reconstructions, because an autoencoder's blur makes real scans alike too; sharpness judges the blur.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from brainldm.core.gate import PASSED

Report = Mapping[str, Any]


class Rule(NamedTuple):
    """`figure` of a report must be at least, or at most, `limit(report)`."""

    name: str
    figure: str
    sense: str  # ">=" or "<="
    limit: Callable[[Report], float]


RULES = (
    Rule("obeys the ventricles asked for", "ventricles_r", ">=", lambda report: 0.9),  # paper: 0.972
    Rule("follows them in size", "ventricles_slope", ">=", lambda report: 0.5),  # r alone is high where next to nothing follows
    Rule("obeys the brain volume asked for", "brain_r", ">=", lambda report: 0.7),
    Rule("obeys the age asked for", "age_r", ">=", lambda report: 0.8 * report["age_r_real"]),
    # The rest being equal: in people the covariates go together, so that r alone is high where only two of the three are obeyed.
    Rule("obeys the ventricles, the rest being equal", "ventricles_partial_r", ">=", lambda report: 0.5),
    Rule("obeys the brain volume, the rest being equal", "brain_partial_r", ">=", lambda report: 0.3),
    Rule("obeys the age, the rest being equal", "age_partial_r", ">=", lambda report: 0.5 * report["age_partial_r_real"]),
    Rule("looks as real to the features", "fid", "<=", lambda report: 20 * report["fid_real"]),  # paper: 16
    Rule("differs as real scans do", "ms_ssim", "<=", lambda report: 1 - 0.75 * (1 - report["ms_ssim_reconstruction"])),
    Rule("covers what real scans show", "coverage", ">=", lambda report: 0.5 * report["coverage_real"]),
    Rule("recalls what real scans show", "recall", ">=", lambda report: 0.5 * report["recall_real"]),
    Rule("is as sharp as real scans", "sharpness", ">=", lambda report: 0.7 * report["sharpness_real"]),
    Rule("is not noisier than real scans", "sharpness", "<=", lambda report: 1.4 * report["sharpness_real"]),
    Rule("passes the quality check", "qc_pass_fraction", ">=", lambda report: 0.95),
    Rule("passes it without many draws", "rejection_rate", "<=", lambda report: 0.05),
)


def verdicts(report: Report) -> dict[str, dict[str, Any]]:
    """By name, each rule whose figure the report has, and the audit: figure, value, sense, limit, passed."""
    found = {rule.name: _judged(rule, report) for rule in RULES if rule.figure in report}
    if "audit" in report:
        row = {"figure": "audit", "value": report["audit"], "sense": "=", "limit": PASSED, "passed": report["audit"] == PASSED}
        found["holds no copies of training scans"] = row
    return found


def _judged(rule: Rule, report: Report) -> dict[str, Any]:
    """What could not be computed has not passed."""
    value = report[rule.figure]
    try:
        limit = rule.limit(report)
    except (KeyError, TypeError):  # the real data's value is missing or None
        limit = None
    known = value is not None and limit is not None
    passed = known and (value >= limit if rule.sense == ">=" else value <= limit)
    return {"figure": rule.figure, "value": value, "sense": rule.sense, "limit": limit, "passed": bool(passed)}


def failed(found: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """The figures that failed."""
    return {row["figure"] for row in found.values() if not row["passed"]}
