import json
import math
from pathlib import Path
from typing import Any

import pytest

from brainldm.core.covariates import SEX_CODES
from brainldm.core.errors import DataError
from brainldm.formats.identifiers import ID_PATTERN, SESSION_PATTERN
from brainldm.formats.manifest import COLUMNS, LARGEST_ML, OLDEST_YEARS, OPTIONAL, SPLITS, read_manifest
from brainldm.formats.raw_table import read_mapping

FOLDER = Path(__file__).parents[1] / "data_manifest"


def _schema() -> Any:
    return json.loads((FOLDER / "schema.json").read_text())


def test_the_schema_says_what_the_reader_checks() -> None:
    schema = _schema()
    rules = schema["properties"]
    assert tuple(schema["required"]) == COLUMNS
    assert rules["participant_id"]["pattern"] == f"^{ID_PATTERN}$"
    assert tuple(rules["sex"]["enum"]) == tuple(SEX_CODES)
    assert tuple(rules["split"]["enum"]) == SPLITS
    assert set(rules) == {*COLUMNS, *OPTIONAL}
    assert rules["session"]["pattern"] == f"^{SESSION_PATTERN}$"
    for volume in ("ventricles_ml", "brain_ml"):
        assert (rules[volume]["exclusiveMinimum"], rules[volume]["maximum"]) == (0, LARGEST_ML)
    assert (rules["age_years"]["exclusiveMinimum"], rules["age_years"]["maximum"]) == (0, OLDEST_YEARS)


def test_the_reader_agrees_on_the_bounds_of_age(tmp_path: Path) -> None:
    for age, good in [(0, False), (math.nextafter(0, 1), True), (OLDEST_YEARS, True), (OLDEST_YEARS + 0.1, False)]:
        path = tmp_path / "manifest.tsv"
        path.write_text("\t".join(COLUMNS) + f"\nsub-1\ta.nii\t{age}\tF\ttrain\n")
        if good:
            assert read_manifest(path)[0].age_years == age
        else:
            with pytest.raises(DataError, match="age_years"):
                read_manifest(path)


def test_the_readme_names_every_column_and_its_example_reads(tmp_path: Path) -> None:
    text = (FOLDER / "README.md").read_text()
    assert all(f"| `{column}` |" in text for column in _schema()["properties"])
    path = tmp_path / "manifest.tsv"
    path.write_text(text.split("```")[3].lstrip())
    assert [entry.participant_id for entry in read_manifest(path)] == ["sub-0001"]
    path.write_text(text.split("```")[1].removeprefix("yaml"))
    assert read_mapping(path).sex.values == {"1": "M", "2": "F"}


def test_the_example_mapping_reads_a_table_of_uk_biobanks_shape() -> None:
    mapping = read_mapping(FOLDER / "ukb.yaml")
    columns = {name: cell.column for name, cell in mapping if cell}
    assert columns == {
        "participant_id": "eid",
        "t1w": "{eid}_20252_2_0/T1/T1.nii.gz",
        "age_years": "21003-2.0",
        "sex": "31-0.0",
        "ventricles_ml": "25004-2.0",
        "brain_ml": "25009-2.0",
    }
    assert mapping.sex.values == {"0": "F", "1": "M"}
    assert mapping.ventricles_ml.scale == mapping.brain_ml.scale == 0.001
