"""`brainldm init`: a valid configuration of any preset, whatever else lies in the folder, and nothing written over."""

import json
from pathlib import Path

import pytest

from brainldm.commands.init import main
from brainldm.core.config import Config
from brainldm.core.errors import ConfigError, OutputError
from brainldm.core.project import WORKFLOW, presets
from brainldm.formats.manifest import COLUMNS
from brainldm.formats.settings import read_config

ROOT = Path(__file__).parents[2]
SHARED = ("seed", "grid", "train_autoencoder", "train_diffusion", "generate")


@pytest.mark.parametrize("preset", presets())
def test_a_project_begins_with_its_preset_and_the_users_own_scans(tmp_path, preset):
    main(tmp_path / "lab", preset)
    config, given = read_config(tmp_path / "lab/config.yaml"), read_config(presets()[preset])
    assert config.source.kind == "manifest"
    assert config.source.manifest == "scans.tsv"
    assert config.preprocess.registration_spacing_mm <= 2 or preset == "tiny"
    assert config.release.skull_stripped is (preset == "tiny")  # whose scans are the made-up ones
    assert all(getattr(config, name) == getattr(given, name) for name in SHARED)
    assert (tmp_path / "lab/scans.tsv").read_text().split()[: len(COLUMNS)] == list(COLUMNS)
    assert (tmp_path / "lab/profiles/default/config.yaml").is_file()
    schema = json.loads((tmp_path / "lab/config.schema.json").read_text())
    assert set(schema["properties"]) == set(Config.model_fields)


def test_with_the_population_the_configuration_is_the_demos(tmp_path):
    main(tmp_path, population=True)
    assert (tmp_path / "config.yaml").read_text().partition("\n")[2] == (ROOT / "config.yaml").read_text()


def test_what_lies_in_the_folder_stays_and_no_project_is_written_over(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    main(tmp_path)
    (tmp_path / "config.yaml").write_text("edited")
    with pytest.raises(OutputError, match="the folder holds Snakefile, config"):
        main(tmp_path)
    assert (tmp_path / "config.yaml").read_text() == "edited"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_preset_that_is_none_leaves_no_folder(tmp_path):
    with pytest.raises(ConfigError, match="--preset: expected one of demo, gpu24gb, paper, tiny, found 'huge'"):
        main(tmp_path / "lab", "huge")
    assert not (tmp_path / "lab").exists()


def test_the_package_holds_links_and_no_copies():
    assert {path.name for path in WORKFLOW.iterdir()} == {"Snakefile", "config.yaml", "workflow", "envs", "data_manifest"}
    assert all(path.is_symlink() and path.resolve() == ROOT / path.name for path in WORKFLOW.iterdir())
