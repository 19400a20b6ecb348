"""What a condition asks for arrives, whole and no more, from a folder and over HTTP, as BIDS; an interrupted call goes on."""

import json
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from release_files import digests, make_release
from web import serve

from brainldm.commands.get import main
from brainldm.core.errors import DataError
from brainldm.formats.places import read_part
from brainldm.formats.release_check import check

WHERE = "measured_ventricles_ml > 38 and sex == 'F'"


@pytest.fixture(scope="module", params=["files", "tars"])
def made(tmp_path_factory, request) -> Path:
    return make_release(tmp_path_factory.mktemp("results"), packaging=request.param)


def test_the_rows_that_fulfil_the_condition_arrive_whole(made: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "brainldm", "get", made, "--where", WHERE, "-n", "2", "-o", tmp_path / "part"]
    subprocess.run([*map(str, command)], check=True)
    table, part = pd.read_parquet(made / "covariates.parquet"), pd.read_parquet(tmp_path / "part" / "covariates.parquet")
    wanted = table.query(WHERE).head(2)
    assert 0 < len(wanted) < 5
    assert part["participant_id"].tolist() == wanted["participant_id"].tolist()
    found = digests(tmp_path / "part")
    assert [found[path] for path in wanted["path"]] == wanted["sha256"].tolist()
    assert len([name for name in found if name.startswith("sub-")]) == 2 * len(wanted)
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", "checksums.sha256"], cwd=tmp_path / "part", check=True)
    assert {finding.verdict for finding in check(tmp_path / "part")} == {"ok"}


def test_what_arrives_is_bids(made: Path, tmp_path: Path) -> None:
    pytest.importorskip("bids_validator_deno", reason="bids-validator-deno is not installed")
    main(str(made), tmp_path / "part", "sex == 'M'", 3)
    command = [Path(sys.executable).with_name("bids-validator-deno"), tmp_path / "part", "--max-rows=-1", "--format", "json"]
    accepted = subprocess.run(command, capture_output=True, text=True)
    assert accepted.returncode == 0, accepted.stdout
    assert len(json.loads(accepted.stdout)["summary"]["subjects"]) == 3


def test_over_http_the_same_arrives_and_little_else_is_sent(made: Path, tmp_path: Path) -> None:
    main(str(made), tmp_path / "local", WHERE, 1)
    with serve(made) as (url, server):
        main(url, tmp_path / "remote", WHERE, 1)
        sent = server.n_sent
    assert digests(tmp_path / "remote") == digests(tmp_path / "local")
    assert sent < sum(path.stat().st_size for path in made.rglob("*.*") if "shards" not in path.parts and "anat" not in path.parts) + 20_000


def test_an_interrupted_call_goes_on(made: Path, tmp_path: Path) -> None:
    main(str(made), tmp_path / "part", None, 4)
    whole, kept = digests(tmp_path / "part"), tmp_path / "part" / "sub-000001/anat/sub-000001_T1w.nii.gz"
    before = kept.stat().st_mtime_ns
    (tmp_path / "part" / "sub-000002/anat/sub-000002_T1w.nii.gz").write_bytes(b"torn")
    (tmp_path / "part" / "checksums.sha256").unlink()
    main(str(made), tmp_path / "part", None, 4)
    assert digests(tmp_path / "part") == whole
    assert kept.stat().st_mtime_ns == before


def test_errors_say_what_was_expected(made: Path, tmp_path: Path) -> None:
    for where, message in (
        ("age_yeras > 70", r"no column age_yeras\. Did you mean age_years\?\n  age_yeras > 70\n  \^"),
        ("age_years +", "no part of a condition"),
        ("age_years", "neither true nor false"),
        ("age_years > 700", "found none"),
    ):
        with pytest.raises(DataError, match=message):
            main(str(made), tmp_path / "part", where, None)
    assert not (tmp_path / "part").exists()
    main(str(made), tmp_path / "part", None, 3)
    with pytest.raises(DataError, match=r"the folder holds .* more\. Name another folder, or add --overwrite"):
        main(str(made), tmp_path / "part", None, 1)
    with pytest.raises(DataError, match="nowhere: no folder is there"):
        main(str(tmp_path / "nowhere"), tmp_path / "new", None, 1)
    with serve(made.parent) as (url, _), pytest.raises(DataError, match="404"):
        main(url, tmp_path / "new", None, 1)


def test_a_server_that_gives_no_parts_is_refused_where_parts_are_needed(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(bytes(range(200)))
    with serve(tmp_path, gives_parts=False) as (url, _):
        assert read_part(url, "shard.tar", 0, 200) == bytes(range(200))
        with pytest.raises(DataError, match=r"shard\.tar: its server gives no parts of files"):
            read_part(url, "shard.tar", 10, 5)
    with serve(tmp_path) as (url, _):
        assert read_part(url, "shard.tar", 10, 5) == bytes(range(10, 15))
