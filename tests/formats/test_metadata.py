"""What a release says of itself is accepted by the validators of those who read it, and is what the run found."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import yaml
from release_files import digests, make_release

CATALOGUED = {"doi": "10.5281/zenodo.1234567", "url": "https://example.org/brains", "authors": ["A lab", "Müller, Zoë"]}


@pytest.fixture(scope="module", params=["files", "tars"])
def made(tmp_path_factory, request) -> Path:
    """Releases with a DOI and without."""
    given = CATALOGUED if request.param == "tars" else {}
    return make_release(tmp_path_factory.mktemp("results"), packaging=request.param, **given)


def test_croissant_is_valid_and_loads_the_rows(made: Path) -> None:
    mlcroissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    dataset = mlcroissant.Dataset(made / "croissant.json")
    assert not dataset.metadata.issues.errors
    table = pd.read_parquet(made / "covariates.parquet")
    rows = list(dataset.records("volumes"))
    assert [row["volumes/participant_id"].decode() for row in rows] == table["participant_id"].tolist()
    assert [row["volumes/age_years"] for row in rows] == pytest.approx(table["age_years"].tolist())


def test_croissant_knows_every_column_and_the_true_hashes(made: Path) -> None:
    found = json.loads((made / "croissant.json").read_text())
    columns = {field["source"]["extract"]["column"] for field in found["recordSet"][0]["field"]}
    assert columns == set(pd.read_parquet(made / "covariates.parquet").columns) - {"preview"}
    files = {entry["contentUrl"]: entry["sha256"] for entry in found["distribution"] if entry["@type"] == "cr:FileObject"}
    assert files == {name: digest for name, digest in digests(made).items() if name == "covariates.parquet" or name.endswith(".tar")}


def test_datacites_schema_accepts_it(made: Path) -> None:
    schema45 = pytest.importorskip("datacite.schema45", reason="datacite is not installed")
    record = json.loads((made / "datacite.json").read_text())
    schema45.validator.validate(record)
    with pytest.raises(Exception, match="titles"):
        schema45.validator.validate({key: value for key, value in record.items() if key != "titles"})


@pytest.mark.skipif(shutil.which("cffconvert") is None, reason="cffconvert is not installed (it needs an environment of its own)")
def test_cffconvert_accepts_the_citation(made: Path, tmp_path: Path) -> None:
    subprocess.run(["cffconvert", "--validate", "--infile", made / "CITATION.cff"], check=True)
    spoilt = yaml.safe_load((made / "CITATION.cff").read_text()) | {"type": "brains"}
    (tmp_path / "CITATION.cff").write_text(yaml.safe_dump(spoilt))
    assert subprocess.run(["cffconvert", "--validate", "--infile", tmp_path / "CITATION.cff"], capture_output=True).returncode != 0


def test_hugging_face_reads_the_card(made: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    card = hub.DatasetCard.load(made / "README.md")
    assert card.data.license == "cc0-1.0"
    assert card.data.size_categories == ["n<1K"]
    assert (made / card.data.configs[0]["data_files"]).exists()


def test_every_text_says_the_same(made: Path) -> None:
    cited, catalogued = yaml.safe_load((made / "CITATION.cff").read_text()), json.loads((made / "datacite.json").read_text())
    card, sheet = (made / "README.md").read_text(), (made / "DATASHEET.md").read_text()
    assert cited["title"] == catalogued["titles"][0]["title"]
    assert [author["name"] for author in cited["authors"]] == [creator["name"] for creator in catalogued["creators"]]
    assert cited.get("doi") == catalogued.get("doi")
    assert cited["date-released"] == "2026-11-21"
    for text in (card, sheet):
        assert "Nobody was scanned" in text
        assert "Not for clinical use" in text
        assert "CC0-1.0" in text
    assert "| ventricles_r | 0.9812 |" in card
    assert "| ventricles_r_ci | 0.97 to 0.99 |" in card


def test_the_datasheet_tells_ranges_failures_and_the_audit(made: Path) -> None:
    table, sheet = pd.read_parquet(made / "covariates.parquet"), (made / "DATASHEET.md").read_text()
    assert f"| age_years | year | {table['age_years'].min():.5g} |" in sheet
    assert "- 1 of 10 volumes failed the automatic quality control: empty." in sheet
    assert "Draws allowed for a row: 1. 0 of 10 volumes were drawn again" in sheet
    assert sheet.count("\n| F | below 60 | 30 to 40 | 10 | 12 | 25.0% (10.0% to 45.0%) | 1 | +0.5 | 1.2 |\n") == 1
    assert "| nearest_train_ratio | 0.9 |" in sheet
    assert "ab" * 32 in sheet
