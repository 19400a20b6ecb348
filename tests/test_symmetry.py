"""One word per stage: the same word names the config section, the rule file, the module, the command and the results folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from brainldm.commands import COMMANDS
from brainldm.core.config import Config
from brainldm.core.story import OPTIONAL, STORY

ROOT = Path(__file__).parents[1]
STAGES = STORY | OPTIONAL
HELPERS = {"generate_baseline", "generate_as_published", "train_age_on"}  # rules of the optional stages


def test_every_stage_has_its_module_and_its_rule_and_there_are_no_others():
    assert {path.stem for path in (ROOT / "brainldm/stages").glob("[a-z]*.py")} == set(STAGES)
    assert {path.stem for path in (ROOT / "workflow/rules").glob("*.smk")} == {*STAGES, "configure", "request_key"}


def test_every_command_has_its_module_and_is_no_stage():
    assert {path.stem for path in (ROOT / "brainldm/commands").glob("[a-z]*.py")} == set(COMMANDS)
    assert {path.stem.removeprefix("test_") for path in (ROOT / "tests/commands").glob("test_*.py")} == set(COMMANDS)
    assert not set(COMMANDS) & {*STAGES, *Config.model_fields}


def test_help_lists_every_stage_and_command_and_imports_none():
    code = (
        "import sys; from brainldm.__main__ import application; application(None)(['--help'], standalone_mode=False); print(*sys.modules)"
    )
    shown, modules = (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.rstrip().rsplit("\n", 1)
    )
    assert {*STAGES, *COMMANDS} <= set(shown.split())
    assert not {"pandas", "torch", "nibabel", "numpy"} & set(modules.split())


def test_every_section_of_the_config_is_a_stage():
    shared = {"seed", "device", "precision", "grid", "source", "segmenter"}
    assert set(Config.model_fields) - shared <= set(STAGES)


def test_a_rule_calls_its_own_stage_and_writes_to_its_own_folder():
    for word in STAGES:
        text = (ROOT / f"workflow/rules/{word}.smk").read_text()
        assert f"brainldm {word}" in text
        outputs = re.search(r"    output:\n(.*?)\n    (params|log):", text, re.S).group(1)
        assert set(re.findall(r'"results/(\w+)', outputs)) == {word}
        assert f"logs/{word}/" in text


@pytest.mark.parametrize(
    ("target", "stages"), [("all", STORY), ("paper_table", ("train_baseline", "paper_table")), ("utility", ("utility",))]
)
def test_the_story_tells_what_snakemake_does(target, stages):
    options = ["--snakefile", ROOT / "Snakefile", "--configfile", ROOT / "config.yaml"]
    command = [sys.executable, "-m", "snakemake", target, "--rulegraph", "dot", *map(str, options)]
    graph = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    names = dict(re.findall(r'(\d+)\[label = "(\w+)', graph))
    edges = {tuple(target if names[end] in HELPERS else names[end] for end in ends) for ends in re.findall(r"(\d+) -> (\d+)", graph)}
    found = {(later, earlier) for earlier, later in edges if later in stages and earlier not in ("configure", later)}
    assert found == {(later, earlier) for later in stages for earlier in STAGES[later].reads}
    assert target != "all" or not set(names.values()) & {*OPTIONAL, *HELPERS}  # the demo does not wait for it
