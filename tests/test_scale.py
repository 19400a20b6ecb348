"""What a run of the paper's size costs before its first job, and what an edit or growth runs again: dry runs on empty files."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.append(str(Path(__file__).parent / "support"))

from spent import spent

from brainldm.core.story import OPTIONAL, STORY

ROOT = Path(__file__).parents[1]
N_SCANS = 31_740  # the paper's


def write_config(folder: Path, name: str, **edits: Any) -> None:
    """The configuration `name` of this repository, for a manifest in `folder`, with `section={key: value}` laid over it."""
    values = yaml.safe_load((ROOT / name).read_text())
    for section, edit in edits.items():
        values[section] = {**values[section], **edit} if isinstance(edit, dict) else edit
    (folder / "config.yaml").write_text(yaml.safe_dump(values))


def command(folder: Path, *arguments: str) -> list[str]:
    options = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", folder / "config.yaml"]
    profile = ["--workflow-profile", ROOT / "workflow/profiles/default", "--cores", "2"]
    return [*map(str, [sys.executable, "-m", "snakemake", *arguments, *options, *profile])]


def snakemake(folder: Path, *arguments: str) -> str:
    done = subprocess.run(command(folder, *arguments), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def stats(printed: str) -> dict[str, int]:
    """Jobs by stage, from what a dry run prints."""
    lines = printed.split("Job stats:")[-1].splitlines()
    counts = {words[0]: int(words[1]) for line in lines if len(words := line.split()) == 2 and words[1].isdigit()}
    return {rule: count for rule, count in counts.items() if rule in STORY}


def planned(folder: Path) -> dict[str, int]:
    """The jobs that a dry run plans, by stage."""
    return stats(snakemake(folder, "--dry-run"))


def pretend_finished(folder: Path) -> None:
    """What stages are told, and every other file that the configuration asks for, empty; Snakemake takes note of them as of its own."""
    snakemake(folder, "--until", "configure", "--quiet")
    for line in snakemake(folder, "--summary").splitlines()[1:]:
        path = folder / line.split("\t")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    snakemake(folder, "--touch", "--quiet")
    assert planned(folder) == {}


@pytest.fixture
def paper(tmp_path: Path) -> Path:
    """A folder with a manifest of the paper's length."""
    rows = (f"sub-{i:07d}\t/scans/{i}.nii.gz\t{44 + i % 38}\t{'FM'[i % 2]}\t{'test' if i % 10 == 0 else 'train'}" for i in range(N_SCANS))
    (tmp_path / "scans.tsv").write_text("\n".join(["participant_id\tt1w\tage_years\tsex\tsplit", *rows]) + "\n")
    return tmp_path


SOURCE = {"kind": "manifest", "manifest": "scans.tsv"}


def test_the_papers_run_is_planned_in_seconds(paper: Path) -> None:
    write_config(paper, "workflow/presets/paper.yaml", source=SOURCE, preprocess={"scans_per_batch": 100}, request={"rows_per_shard": 250})
    used = spent(*command(paper, "--dry-run"), timeout=300)
    counts = stats(used.printed)
    assert (counts["preprocess"], counts["generate"], counts["pack"]) == (318, 400, 400)
    assert used.cpu_seconds < 20  # of one core; about 4 on an idle one
    assert used.peak_mib < 400


def test_growth_from_a_thousand_rows_runs_none_of_them_again(paper: Path) -> None:
    write_config(paper, "workflow/presets/paper.yaml", source=SOURCE, request={"n_rows": 1_000})
    pretend_finished(paper)
    write_config(paper, "workflow/presets/paper.yaml", source=SOURCE, request={"n_rows": 100_000})
    # Two of 200 shards of 500 rows stand; what reads all shards runs on all of them.
    assert planned(paper) == {"request": 198, "generate": 198, "measure": 198, "pack": 198, "evaluate": 1, "release": 1, "report": 1}


# A key of every section, another value, and the stages that run again because of it: one, and all that read its files.
AFTER_MEASURE = {"measure", "evaluate", "pack", "release", "report"}
AFTER_GENERATE = {"generate", *AFTER_MEASURE}
AFTER_DIFFUSION = {"train_diffusion", *AFTER_GENERATE}
AFTER_COVARIATES = {"covariates", "covariate_model", "train_autoencoder", "encode", "train_age", "request", *AFTER_DIFFUSION}
EDITS = [
    ("cohort", "rotation_deg", 19, set(STORY)),
    ("preprocess", "min_similarity", 0.7, {"preprocess", "segment", *AFTER_COVARIATES}),
    ("preprocess", "on_bad_scan", "skip", {"preprocess", "segment", *AFTER_COVARIATES}),
    ("train_segmenter", "steps", 21, {"train_segmenter", "segment", *AFTER_COVARIATES}),
    ("segment", "batch_size", 8, {"segment", *AFTER_COVARIATES}),
    ("train_autoencoder", "kl_weight", 1e-7, {"train_autoencoder", "encode", *AFTER_DIFFUSION}),
    ("encode", "batch_size", 8, {"encode", *AFTER_DIFFUSION}),
    ("train_diffusion", "ema_decay", 0.99, AFTER_DIFFUSION),
    ("train_age", "steps", 21, {"train_age", *AFTER_GENERATE}),  # it judges what is generated
    ("covariate_model", "bounds", {"brain_ml": [1000, 2000]}, {"covariate_model", "request", *AFTER_DIFFUSION}),
    ("request", "jitter", 0.2, {"request", *AFTER_GENERATE}),
    ("request", "n_rows", 6, {"request", *AFTER_GENERATE}),  # the last shard is another, of fewer rows
    ("generate", "guidance", 1.5, AFTER_GENERATE),
    ("generate", "attempts", 3, AFTER_GENERATE),
    ("measure", "batch_size", 8, AFTER_MEASURE),
    ("measure", "quality", {"min_spread": 0.03}, AFTER_GENERATE),
    ("pack", "piece_length", 65536, {"pack", "release"}),
    ("evaluate", "bootstrap", 50, {"evaluate", "release", "report"}),
    ("release", "license", "CC-BY-4.0", {"release"}),
    ("device", None, "cpu", set()),
    ("seed", None, 1, set(STORY)),
]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    write_config(folder, "tests/tiny/config.yaml")
    pretend_finished(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(("section", "key", "value", "touched"), EDITS, ids=lambda value: value if isinstance(value, str) else "")
def test_an_edit_runs_the_stages_that_it_touches_and_no_other(tiny: Path, section: str, key: str, value: Any, touched: set[str]) -> None:
    write_config(tiny, "tests/tiny/config.yaml", **{section: {key: value} if key else value})
    assert set(planned(tiny)) == touched


def test_the_table_names_every_section() -> None:
    sections = {name for name, value in yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text()).items() if isinstance(value, dict)}
    others = {"grid", "source", "covariates"}  # these change the shape of files or of the graph
    assert sections - {section for section, *_ in EDITS} == others | set(OPTIONAL)
