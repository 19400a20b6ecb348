"""Is the generator sound? Each way to fail has the figure that shows it; limits (ours) are far from what a sound one reaches.

Similarity is judged against reconstructions, because an autoencoder's blur makes real scans alike too; sharpness judges the blur.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from brainldm.core.gate import NO_LEAK, PASSED

Report = Mapping[str, Any]


class Rule(NamedTuple):
    """`figure` of a report must be at least, or at most, `constant` and the sum of other figures, each times a factor."""

    name: str
    figure: str
    sense: str  # ">=" or "<="
    constant: float
    others: Mapping[str, float] = MappingProxyType({})

    def limit(self, report: Report) -> float:
        """KeyError or TypeError where another figure is missing or None."""
        return self.constant + sum(factor * report[other] for other, factor in self.others.items())

    def __str__(self) -> str:
        terms = [f"{factor:g} {other}" for other, factor in self.others.items()]
        return f"{self.figure} {self.sense} " + " + ".join(([f"{self.constant:g}"] if self.constant or not terms else []) + terms)


RULES = (
    Rule("obeys the ventricles asked for", "ventricles_r", ">=", 0.9),  # paper: 0.972
    Rule("follows them in size", "ventricles_slope", ">=", 0.5),  # r alone is high where next to nothing follows
    Rule("obeys the brain volume asked for", "brain_r", ">=", 0.7),
    Rule("obeys the age asked for", "age_r", ">=", 0, {"age_r_real": 0.8}),
    # The rest being equal: in people the covariates go together, so that r alone is high where only two of the three are obeyed.
    Rule("obeys the ventricles, the rest being equal", "ventricles_partial_r", ">=", 0.5),
    Rule("obeys the brain volume, the rest being equal", "brain_partial_r", ">=", 0.3),
    Rule("obeys the age, the rest being equal", "age_partial_r", ">=", 0, {"age_partial_r_real": 0.5}),
    Rule("looks as real to the features", "fid", "<=", 0, {"fid_real": 1, "fid_variance_real": 0.1}),  # does not shrink with n
    Rule("differs as real scans do", "ms_ssim", "<=", 0.25, {"ms_ssim_reconstruction": 0.75}),  # three quarters of the dissimilarity
    Rule("covers what real scans show", "coverage", ">=", 0, {"coverage_real": 0.5}),
    Rule("recalls what real scans show", "recall", ">=", 0, {"recall_real": 0.5}),
    Rule("is as sharp as real scans", "sharpness", ">=", 0, {"sharpness_real": 0.7}),
    Rule("is not noisier than real scans", "sharpness", "<=", 0, {"sharpness_real": 1.4}),
    Rule("passes the quality check", "qc_pass_fraction", ">=", 0.95),
    Rule("passes it without many draws", "rejection_rate", "<=", 0.05),
)


def verdicts(report: Report) -> dict[str, dict[str, Any]]:
    """By name, each rule whose figure the report has, and the privacy audits: figure, value, sense, limit, passed."""
    found = {rule.name: _judged(rule, report) for rule in RULES if rule.figure in report}
    if "audit" in report:
        row = {"figure": "audit", "value": report["audit"], "sense": "=", "limit": PASSED, "passed": report["audit"] == PASSED}
        found["holds no copies of training scans"] = row
    if "membership_images" in report:
        value = report["membership_images"]
        row = {"figure": "membership_images", "value": value, "sense": "=", "limit": NO_LEAK, "passed": value == NO_LEAK}
        found["does not tell who was trained on"] = row
    if "table_audit" in report:
        value = report["table_audit"]
        row = {"figure": "table_audit", "value": value, "sense": "=", "limit": NO_LEAK, "passed": value == NO_LEAK}
        found["its table does not tell who was trained on"] = row
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
