"""Two configurations side by side: which settings differ, and which stages that would run again."""

import json
from typing import Any

from brainldm.core.config import Config, section_json
from brainldm.core.reference import flat
from brainldm.core.story import JUDGES, OPTIONAL, STORY

STAGES = STORY | OPTIONAL
OUTSIDE = {  # settings that stand in no stage's section, or in another's -> the stages that they touch
    "source": ("preprocess",),
    "segmenter": ("segment",),
    "request.rows_per_shard": ("request",),
    "request.n_rows": ("evaluate", "release"),
    "evaluate": ("paper_table", "utility"),
    "generate": ("paper_table",),
}


def differences(old: Config, new: Config) -> dict[str, tuple[Any, Any]]:
    """Dotted name: (old, new) of every setting that differs."""
    first, second = (flat(config.model_dump(mode="json")) for config in (old, new))
    names = [*first, *(name for name in second if name not in first)]
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def sections(config: Config) -> dict[str, Any]:
    """What every stage is told."""
    return {stage: json.loads(section_json(config, stage)) for stage in STAGES}


def touched(old: dict[str, Any], new: dict[str, Any], names: list[str]) -> list[str]:
    """Stages that run again, in story order: those whose sections differ, those that a setting outside touches, and all that read theirs.

    `old` may lack stages, which have not run; `names` are the settings that differ.
    """
    direct = {stage for stage in STAGES if stage in old and old[stage] != new[stage]}
    for prefix, stages in OUTSIDE.items():
        if any(name == prefix or name.startswith(f"{prefix}.") for name in names):
            direct |= set(stages)
    judged = new["generate"]["section"]["attempts"] > 1
    for stage, (_, reads) in STAGES.items():
        if direct & (set(reads) - (JUDGES if stage == "generate" and not judged else set())):
            direct.add(stage)
    return [stage for stage in STAGES if stage in direct]
