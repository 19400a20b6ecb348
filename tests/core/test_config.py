"""The configuration: unknown keys are errors with a hint, and an edit changes only the section that it touches."""

from pathlib import Path

import pytest
import yaml
from configs import DEMO, edited

from brainldm.core.config import Config, Generate, parse, read_section, section_json
from brainldm.core.errors import ConfigError, DataError
from brainldm.core.story import STORY

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("path", [ROOT / "config.yaml", ROOT / "tests/tiny/config.yaml"])
def test_shipped_configurations_are_valid(path):
    assert isinstance(parse(yaml.safe_load(path.read_text())), Config)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cohort__n_subject": 3}, ["cohort.n_subject", "unknown key", "n_subjects"]),
        ({"sed": 1}, ["sed", "unknown key", "seed"]),
        ({"generate__steps": "many"}, ["generate.steps", "integer", "many"]),
        ({"generate__sampler": "unipc", "generate__eta": 0.5}, ["generate", "eta is of the sampler ddim", "unipc"]),
        ({"request__design": "paired", "request__values": {"sex": ["F", "M"]}}, ["paired", "set generate.attempts to 1"]),
        ({"grid__spacing_mm": -1}, ["grid.spacing_mm", "greater than 0"]),
        ({"source__kind": "manifest"}, ["source", "manifest"]),
        ({"source__kind": "manifest", "source__manifest": "scans.tsv", "request__key": "demo"}, ["request.key", "published key"]),
        (
            {"source__kind": "manifest", "source__manifest": "scans.tsv", "release__packaging": "latents"},
            ["train_autoencoder.standardise", "mean training scan"],
        ),
        ({"request__table": "a{b}.csv"}, ["request.table", "no { or }", "a{b}.csv"]),
        ({"train_diffusion__prediction": "x0"}, ["train_diffusion.prediction", "epsilon"]),
    ],
)
def test_a_fault_is_named_with_its_place(changes, words):
    with pytest.raises(ConfigError) as error:
        parse(edited(**changes), "my.yaml")
    for word in ["my.yaml", *words]:
        assert word in str(error.value)


def test_all_faults_are_listed_at_once():
    with pytest.raises(ConfigError, match="2 fault"):
        parse(edited(sed=1, generate__steps=0))


@pytest.mark.parametrize(
    ("changes", "touched"),
    [
        ({"train_age__steps": 7}, {"train_age"}),
        ({"measure__batch_size": 7}, {"measure"}),
        ({"measure__quality": {"min_spread": 0.03}}, {"measure", "generate"}),  # it draws again what fails
        ({"request__jitter": 0.3}, {"request"}),
        ({"request__n_rows": 100_000}, set()),
        ({"release__name": "other"}, {"release"}),
        ({"device": "cuda"}, set()),
        ({"seed": 1}, set(STORY)),
    ],
)
def test_an_edit_changes_only_the_sections_it_touches(changes, touched):
    before, after = parse(DEMO), parse(edited(**changes))
    assert {stage for stage in STORY if section_json(before, stage) != section_json(after, stage)} == touched


def test_a_section_file_is_read_back_and_belongs_to_its_stage(tmp_path):
    path = tmp_path / "generate.json"
    path.write_text(section_json(parse(DEMO), "generate"))
    given = read_section(path, "generate")
    assert given.own(Generate) == parse(DEMO).generate
    assert given.grid == parse(DEMO).grid
    assert given.quality == parse(DEMO).measure.quality
    path.write_text(section_json(parse(edited(generate__attempts=1)), "generate"))
    assert read_section(path, "generate").quality is None
    with pytest.raises(ConfigError, match="generate"):
        read_section(path, "encode")
    path.write_text("{")
    with pytest.raises(DataError, match=r"generate\.json"):
        read_section(path, "generate")
