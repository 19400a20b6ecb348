"""Names that a shell would take for something else go through every rule unharmed; a release cannot make its reader write elsewhere."""

import csv
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from release_files import digests, make_results, pack_all, release, relist

from brainldm.commands import get
from brainldm.core.errors import DataError
from brainldm.core.files import read_json
from brainldm.core.story import STORY
from brainldm.formats.checksums import read_checksums
from brainldm.formats.manifest import read_manifest

ROOT = Path(__file__).parents[1]
HOSTILE = "a 'b\" $(touch pwned) `touch pwned` ;&|<>*?[!] ~ # %s \\ é\nend"
BRACES = f"{HOSTILE} {{batch}} {{{{y}}}} {{"  # of folders and of scans; paths in the configuration must have none
SLOW_WAIT_S = 3000


def snakemake(folder: Path, config: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    options = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", config, "--cores", "1", *arguments]
    command = [*map(str, [sys.executable, "-m", "snakemake", *options])]
    return subprocess.run(command, capture_output=True, text=True, timeout=SLOW_WAIT_S, cwd=folder)


def configured(folder: Path, **edits: Any) -> Path:
    values = yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text())
    for section, edit in edits.items():
        values[section] = {**values[section], **edit} if isinstance(edit, dict) else edit
    path = folder / f"{folder.name}.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_every_path_of_the_configuration_reaches_its_stage_as_it_is(tmp_path: Path) -> None:
    """The shell commands of a dry run, run by bash with a `brainldm` that only says its arguments."""
    folder = tmp_path / BRACES
    folder.mkdir()
    named = {name: f"in/{name} {HOSTILE}" for name in ("scans.tsv", "labels.tsv", "segmenter.h5", "features", "table.csv", "reference.npz")}
    (folder / "in").mkdir()
    for name in named.values():
        (folder / name).write_text("header\nline\n")
    config = configured(
        folder,
        source={"kind": "manifest", "manifest": named["scans.tsv"]},
        train_segmenter={"label_maps": named["labels.tsv"]},
        segmenter=named["segmenter.h5"],
        train_autoencoder={"perceptual": "squeeze", "perceptual_weights": named["features"]},
        request={"design": "table", "table": named["table.csv"], "key": f"in/request.key {HOSTILE}"},
        evaluate={"reference": named["reference.npz"]},
    )
    done = snakemake(folder, config, "--dry-run", "--printshellcmds", "--forceall", "--workflow-profile", "none", "all")
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    blocks = re.split(r"^\[[^\n]*\]$", done.stdout + done.stderr, flags=re.M)
    commands = [block.partition("Shell command: ")[2] for block in blocks]
    said = [spoken(folder, command.rsplit(" 2>&1 | tee ", 1)[0]) for command in commands if " brainldm " in command]
    assert {words[0] for words in said} == set(STORY) - {"cohort"} | {"request_key"}  # the scans are the lab's own
    found = {word for words in said for word in words}
    reference = named.pop("reference.npz")
    assert set(named.values()) <= found
    for name in ("results", "logs"):
        (folder / name / "configure").mkdir(parents=True)
    for command in commands:
        spoken(folder, command if command.startswith("printf") else "true")
    assert read_json(folder / "results/configure/evaluate.json")["section"]["reference"] == reference
    assert not list(tmp_path.rglob("pwned"))


def spoken(folder: Path, command: str) -> list[str]:
    """The words that `brainldm` gets."""
    script = f"brainldm() {{ printf '%s\\0' \"$@\"; }}\n{command}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.split("\0")[:-1]


@pytest.mark.slow
def test_the_pipeline_runs_in_such_a_folder_on_scans_so_named(tmp_path: Path) -> None:
    folder = tmp_path / BRACES
    folder.mkdir()
    cohort = snakemake(folder, configured(folder), "results/cohort/manifest.tsv")
    assert cohort.returncode == 0, cohort.stdout[-2000:] + cohort.stderr[-3000:]
    (folder / f"in {HOSTILE}").mkdir()
    scans = read_manifest(folder / "results/cohort/manifest.tsv")
    table = pd.read_csv(folder / "results/cohort/manifest.tsv", sep="\t")
    names = [f"{index} {BRACES.replace(chr(10), ' ')}.nii.gz" for index in range(len(scans))]  # a TSV has no line breaks in a cell
    for scan, name in zip(scans, names, strict=True):
        shutil.copy(scan.t1w, folder / f"in {HOSTILE}" / name)
    table.assign(t1w=names).to_csv(folder / f"in {HOSTILE}" / f"{HOSTILE}.tsv", sep="\t", index=False, quoting=csv.QUOTE_NONE)
    source = {"kind": "manifest", "manifest": f"in {HOSTILE}/{HOSTILE}.tsv"}
    config = configured(folder, source=source, train_segmenter={"label_maps": "results/cohort/labels.tsv"})
    done = snakemake(folder, config)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    subprocess.run(["sha256sum", "-c", "--quiet", "checksums.sha256"], cwd=folder / "results/release", check=True)
    assert not list(tmp_path.rglob("pwned"))


@pytest.mark.parametrize("column", ["path", "participant_id", "shard"])
def test_a_release_cannot_write_outside_of_the_folder_that_is_asked_for(column: str, tmp_path: Path) -> None:
    results = make_results(tmp_path / "results", packaging="files")
    pack_all(results)
    made = release(results)
    table = pq.read_table(made / "covariates.parquet")
    values = ["../../outside", *table[column].to_pylist()[1:]]
    hostile = table.set_column(table.schema.get_field_index(column), table.schema.field(column), pa.array(values))
    pq.write_table(hostile, made / "covariates.parquet")
    relist(made)
    with pytest.raises(DataError, match=rf"covariates\.parquet: (path|{column}) of its row 0 is '(\.\./\.\./outside|sub-000001/.*)'"):
        get.main(str(made), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()
    assert "outside" not in str(list(tmp_path.rglob("*")))
    assert digests(made)


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "a/../../secret"])
def test_checksums_name_files_of_their_own_folder_only(name: str, tmp_path: Path) -> None:
    (tmp_path / "checksums.sha256").write_text(f"{'0' * 64}  {name}\n")
    with pytest.raises(DataError, match="expected a file in its folder"):
        read_checksums(str(tmp_path), "checksums.sha256")
