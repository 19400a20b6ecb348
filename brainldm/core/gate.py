"""The gate before a release: all privacy audits have passed, or the configuration says in writing why to go on."""

import logging
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from brainldm.core.errors import DataError

PASSED = "no copies found"
NO_LEAK = "no membership leak found"
# Figure of the report -> what it must say.
ALWAYS = MappingProxyType({"audit": PASSED, "membership_images": NO_LEAK, "table_audit": NO_LEAK})
WITH_LATENTS = MappingProxyType({"membership_autoencoder": NO_LEAK})  # as well, where latents and their decoder are published


def audits(packaging: str) -> dict[str, str]:
    """Return what figures of the report must say before a release of that packaging."""
    return {**ALWAYS, **(WITH_LATENTS if packaging == "latents" else {})}


def pass_audit(report: Mapping[str, Any], path: Path, despite: str | None, packaging: str = "files") -> dict[str, Any]:
    """Return the report, with the reason if an audit was overruled.

    DataError, naming the report, if an audit of that packaging has not passed and no reason is given.
    """
    failed = {name: report.get(name, "no audit") for name, wanted in audits(packaging).items() if report.get(name) != wanted}
    if not failed:
        return dict(report)
    says = ", ".join(f"{name} says {verdict!r}" for name, verdict in failed.items())
    if despite is None:
        raise DataError(
            f"{path}: a privacy audit has not passed ({says}), so nothing is released. Look at the privacy chapters of the report "
            "(docs/evaluation.md). If it is right to release all the same, write the reason as release.despite_audit."
        )
    logging.warning("a privacy audit has not passed (%s); released all the same: %s", says, despite)
    return {**report, "released_despite_audit": despite}
