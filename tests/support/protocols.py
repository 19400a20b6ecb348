"""A protocol as `evaluate` freezes one, with the tiny configuration."""

from typing import Any

from scans import TINY

from brainldm import protocol
from brainldm.metrics.definitions import INTENSITIES, definitions


def sound_protocol(sha256: dict[str, str]) -> dict[str, Any]:
    """Its values; `sha256` are those of the files that measure."""
    sections = {stage: getattr(TINY, stage).model_dump(mode="json") for stage in protocol.SECTIONS}
    return {
        "protocol": 1,
        "made_with": {"brainldm": "0.1.0"},
        "seed": 1,
        "precision": "32-true",
        "grid": TINY.grid.model_dump(mode="json"),
        "intensities": INTENSITIES,
        **{stage: {key: value for key, value in own.items() if key not in protocol.PRIVATE} for stage, own in sections.items()},
        "features": "age model",
        "sha256": sha256,
        "n": {"synthetic": 2},
        "audit_thresholds": {"latents": 0.5},
        "ladders": {"within_percentiles": [2, 98]},
        "metrics": definitions(TINY.grid.shape),
    }
