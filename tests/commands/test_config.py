"""`brainldm config`: what it shows is what is used, what it says would run again is what an edit touches, and its page is no older."""

import json
from pathlib import Path

import configs
import pytest
import yaml
from typer.testing import CliRunner

from brainldm.commands.config import app
from brainldm.core.config import Config, parse, section_json
from brainldm.core.errors import ConfigError
from brainldm.core.reference import flat
from brainldm.core.story import STORY

ROOT = Path(__file__).parents[2]


def told(*words):
    result = CliRunner().invoke(app, list(map(str, words)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def edited(tmp_path):
    def write(**changes):
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(configs.edited(**changes)))
        return tmp_path / "mine.yaml"

    return write


def again(text):
    line = next(line for line in text.splitlines() if line.startswith("runs again: "))
    return line.removeprefix("runs again: ").split(", ")


AFTER_MODELS = {"measure", "evaluate", "pack", "release", "report"}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"device": "cpu"}, {"nothing"}),
        ({"train_age__steps": 7}, {"train_age", "generate"} | AFTER_MODELS),  # it judges what is generated
        ({"measure__quality": {"min_spread": 0.03}}, {"generate"} | AFTER_MODELS),
        ({"generate__steps": 7}, {"generate"} | AFTER_MODELS),
        ({"seed": 1}, set(STORY)),
        ({"request__n_rows": 300}, {"evaluate", "release", "report"}),
        ({"segmenter": "mri_synthseg"}, set(STORY) - {"cohort", "preprocess", "train_segmenter"}),
        ({"source": {"kind": "manifest", "manifest": "scans.tsv"}}, set(STORY) - {"cohort", "train_segmenter"}),
        ({"release__license": "CC-BY-4.0"}, {"release"}),
    ],
)
def test_an_edit_runs_the_stages_again_that_it_touches_and_those_after_them(edited, changes, expected):
    text = told("diff", edited(**changes), ROOT / "config.yaml")
    assert set(again(text)) == expected
    assert all(name.replace("__", ".").split(".")[0] in text for name in changes)


def test_the_last_run_is_what_its_stages_were_told(tmp_path, edited):
    last = {"evaluate", "release", "report"}
    for stage in STORY.keys() - last:
        (tmp_path / "results/configure").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"results/configure/{stage}.json").write_text(section_json(parse(configs.DEMO), stage))
    text = told("diff", edited(train_diffusion__steps=950), "--results", tmp_path / "results")
    assert "train_diffusion.steps: 900 -> 950" in text
    assert again(text)[:2] == ["train_diffusion", "generate"]
    assert not set(again(text)) & last
    assert again(told("diff", ROOT / "config.yaml", "--results", tmp_path / "results")) == ["nothing"]


def test_optional_stages_are_told_where_they_were_run_and_beside_the_others_where_nobody_knows(tmp_path, edited):
    write = tmp_path / "results/configure/utility.json"
    write.parent.mkdir(parents=True)
    write.write_text(section_json(parse(configs.DEMO), "utility"))
    assert again(told("diff", edited(utility__repeats=5), "--results", tmp_path / "results")) == ["utility"]
    text = told("diff", edited(evaluate__bootstrap=5), ROOT / "config.yaml")
    assert "and where they were asked for: paper_table, utility\n" in text
    assert "paper_table" not in again(text)


def test_what_is_shown_is_what_is_used_and_tells_defaults(edited):
    lines = dict(line.split(": ", 1) for line in told("show", edited(train_age__steps=7)).splitlines())
    used = flat(parse(yaml.safe_load(edited(train_age__steps=7).read_text())).model_dump(mode="json"))
    assert {name: json.loads(text.partition("   #")[0]) for name, text in lines.items()} == used
    assert lines["train_age.steps"] == "7"
    assert lines["train_age.gradient_clip"] == "1.0   # default"


def test_a_wrong_configuration_is_told_with_its_fault(edited):
    with pytest.raises(ConfigError, match=r"mine\.yaml: 1 fault"):
        told("check", edited(generate__steps=0))
    assert told("check", edited()).endswith("mine.yaml: right\n")


def test_the_page_in_the_documentation_is_that_of_these_models():
    assert (ROOT / "docs/configuration.md").read_text() == told("reference"), "brainldm config reference --out docs/configuration.md"


def test_the_page_and_the_schema_name_every_setting():
    page, schema = told("reference"), json.loads(told("schema"))
    names = set(flat(parse(configs.DEMO).model_dump(mode="json")))
    assert {name for name in names if f"`{name}`" not in page} == set()
    assert set(schema["properties"]) == set(Config.model_fields)
