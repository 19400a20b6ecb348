"""One undisturbed run to compare with, and the ledger of all faults, which becomes the table of docs/reliability.md."""

import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from injection import ROOT, again, jobs, released, snakemake, start_anew, written
from ledger import Ledger, Reference

from brainldm.core.files import read_json, write_json

BEGIN, END = "<!-- faults: written by make test-faults -->", "<!-- /faults -->"
TABLE_VARIABLE = "BRAINLDM_FAULTS_TABLE"  # the page whose table is to be written
KEPT_VARIABLE = "BRAINLDM_FAULTS_REFERENCE"  # a folder in which the undisturbed run is kept for the next time
STARTED_IN = Path.cwd()  # tests run in folders of their own


def named_by(variable: str) -> Path | None:
    """Return the absolute path that an environment variable names, or None where it is not set."""
    name = os.environ.get(variable)
    return STARTED_IN / name if name else None


@pytest.fixture(scope="session")
def ledger() -> Iterator[Ledger]:
    kept = named_by(KEPT_VARIABLE)
    found = Ledger(kept / "faults.json" if kept else None)
    yield found
    if page := named_by(TABLE_VARIABLE):
        kinds, failed = {kind for kind, *_ in found.entries}, sum("not met" in outcome for *_, outcome in found.entries)
        head = f"{len(found.entries)} faults of {len(kinds)} kinds, {time.strftime('%Y-%m-%d')}; not met: {failed}."
        before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
        text = f"{before}{BEGIN}\n{head}\n\n{found.table()}\n{END}{rest.partition(END)[2]}"
        page.write_text(text, encoding="utf-8")


@pytest.fixture(scope="session")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """The tiny pipeline through Snakemake, undisturbed; then every job by itself, which must write the same bytes."""
    folder = named_by(KEPT_VARIABLE) or tmp_path_factory.mktemp("reference")
    folder.mkdir(exist_ok=True)
    values = yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text())
    (folder / "config.yaml").write_text(yaml.safe_dump(values))
    done = snakemake(folder)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    found = jobs(folder)
    stages = {job.stage: job for job in found}
    whole = Reference(folder, found, {stage: written(folder, job) for stage, job in stages.items()}, {}, released(folder))
    durations = folder / "seconds.json"
    if durations.exists():
        return whole._replace(seconds=read_json(durations))
    replayed = whole.copy(tmp_path_factory.mktemp("replayed"))
    for job in found:
        start_anew(replayed, job)
        begun = time.monotonic()
        again(replayed, job)
        whole.seconds[job.name] = time.monotonic() - begun
        if job.stage != "encode":  # whose files name the times of the scans, which are new here
            whole.check(replayed, job)
        if (log := folder / "results" / job.stage / "log.csv").exists():  # it tells seconds, and the report tells them too
            shutil.copy2(log, replayed / "results" / job.stage)
    assert released(replayed) == whole.release
    write_json(durations, whole.seconds)
    return whole


@pytest.fixture
def draw(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that are the test's own."""
    return random.Random(request.node.name)
