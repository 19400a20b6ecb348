"""Projections: jobs as Snakemake plans them, hours that add up, and a warning where measuring costs more than generating."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from brainldm.core.config import Config, parse
from brainldm.core.projection import Projection, check_measuring, jobs, optional_jobs, volume_seconds

ROOT = Path(__file__).parents[2]
VALUES = yaml.safe_load((ROOT / "tests/tiny/config.yaml").read_text())
HELPERS = ("generate_baseline", "generate_as_published")
WORK_S = {"denoise": 2.0, "decode": 5.0, "write": 1.0, "segment": 3.0, "age": 0.5}
MEASURE_S = 3.0 + 5 * 0.5  # the age model answers five times


def config(**changes: Any) -> Config:
    return parse(VALUES | {name: VALUES.get(name, {}) | change if isinstance(change, dict) else change for name, change in changes.items()})


def dry_run(folder: Path, *targets: str) -> dict[str, int]:
    """The jobs that Snakemake plans from the start for the configuration in `folder`, by rule."""
    where = ["--snakefile", ROOT / "Snakefile", "--directory", folder, "--configfile", folder / "config.yaml"]
    profile = ["--workflow-profile", ROOT / "workflow/profiles/default"]
    words = [sys.executable, "-m", "snakemake", *targets, "--dry-run", "--quiet", "host", *where, *profile]
    told = subprocess.run([*map(str, words)], capture_output=True, text=True, check=True).stdout.split("Job stats:")[-1]
    return {name: int(count) for name, count in (line.split() for line in told.splitlines() if len(line.split()) == 2) if count.isdigit()}


@pytest.mark.parametrize("kind", ["cohort", "manifest"])
def test_jobs_are_those_that_snakemake_plans(tmp_path: Path, kind: str) -> None:
    values = dict(VALUES)
    if kind == "manifest":
        lines = ["participant_id\tt1w\tage_years\tsex\tsplit", *(f"sub-{n}\tscan.nii.gz\t60\tF\ttrain" for n in range(30))]
        (tmp_path / "scans.tsv").write_text("\n".join(lines) + "\n")
        (tmp_path / "weights.h5").touch()
        (tmp_path / "maps.tsv").write_text("dseg\n")
        files = {"source": {"kind": "manifest", "manifest": str(tmp_path / "scans.tsv")}, "segmenter": str(tmp_path / "weights.h5")}
        values |= {**files, "train_segmenter": VALUES["train_segmenter"] | {"label_maps": str(tmp_path / "maps.tsv")}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(values))
    planned = {name: count for name, count in dry_run(tmp_path).items() if name not in ("all", "configure", "total")}
    assert jobs(parse(values), 30 if kind == "manifest" else parse(values).cohort.n_subjects) == planned


def test_optional_jobs_are_those_that_snakemake_plans(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(VALUES | {"paper_table": {"n_volumes": 9, "timed": 2}}))
    of_each = {"paper_table": {"paper_table", *HELPERS, "train_baseline", "request"}, "utility": {"utility", "train_age_on"}}
    for target, rules in of_each.items():
        counts = dry_run(tmp_path, "all", target)
        counts["request"] = counts["request"] - dry_run(tmp_path)["request"]
        found = sum(count for rule, count in counts.items() if rule in rules)
        assert found == optional_jobs(parse(yaml.safe_load((tmp_path / "config.yaml").read_text())))[target]


def test_without_a_manifest_the_scans_jobs_are_left_out() -> None:
    found = jobs(config(source={"kind": "manifest", "manifest": "nowhere.tsv"}), None)
    assert not {"preprocess", "segment"} & set(found)
    assert found["generate"] == 3


def test_a_volume_takes_its_steps_and_guidance_twice_as_many() -> None:
    own = {"steps": 50, "guidance": 1.0, "attempts": 1}
    assert volume_seconds(config(generate=own), WORK_S) == {"generate": 106.0, "measure": MEASURE_S}
    assert volume_seconds(config(generate=own | {"attempts": 3}), WORK_S)["generate (judging)"] == MEASURE_S
    assert volume_seconds(config(generate=own | {"guidance": 2.0}), WORK_S)["generate"] == 206.0
    assert volume_seconds(config(generate=own), WORK_S, 60.0)["measure"] == 60.0
    assert "measure" not in volume_seconds(config(generate=own), {name: WORK_S[name] for name in ("denoise", "decode", "write")})


def test_hours_add_up_and_devices_share_whole_shards() -> None:
    alone = Projection(1000, 4, 1, {"generate": 36.0, "measure": 3.6})
    assert alone.stage_hours == pytest.approx({"generate": 10.0, "measure": 1.0})
    assert (alone.device_hours, alone.wall_hours, alone.volumes_per_hour) == pytest.approx((11.0, 11.0, 100.0))
    three = Projection(1000, 4, 3, alone.volume_s)
    assert (three.device_hours, three.wall_hours, three.volumes_per_hour) == pytest.approx((11.0, 5.5, 300.0))  # one does two shards


def test_measuring_that_costs_more_than_generating_is_warned_of() -> None:
    cheap, dear, unknown = ({"generate": 2.0} | measure for measure in ({"measure": 1.0}, {"measure": 30.0}, {}))
    found = [check_measuring(Projection(3600, 4, 1, volume_s), "synthseg_2.0.h5") for volume_s in (cheap, dear, unknown)]
    assert [finding.verdict for finding in found] == ["ok", "warning", "warning"]
    assert "30 h, generating 2 h" in found[1].found
    assert "synthseg_2.0.h5" in found[1].cause
    assert "--measure-seconds" in found[2].remedy
