"""The gate before a release: the privacy audit has passed, or the configuration says in writing why to go on."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from brainldm.core.errors import DataError

PASSED = "no copies found"


def pass_audit(report: Mapping[str, Any], path: Path, despite: str | None) -> dict[str, Any]:
    """The report, with the reason if the audit was overruled; DataError, naming the report, if it has not passed and no reason is given."""
    verdict = report.get("audit", "no audit")
    if verdict == PASSED:
        return dict(report)
    if despite is None:
        raise DataError(
            f"{path}: expected the privacy audit to say {PASSED!r}, found {verdict!r}; nothing is released. Look at the copies in the "
            "report (docs/evaluation.md); if it is right to release all the same, write the reason as release.despite_audit"
        )
    logging.warning("the privacy audit says %r; released all the same: %s", verdict, despite)
    return {**report, "released_despite_audit": despite}
