from pathlib import Path

import pytest
import typer
from release_files import make_release

from brainldm.commands.leak_check import main


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("results"))


def test_a_release_that_gives_nothing_away_passes(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(release, release.parent / "covariates.tsv")
    assert "nothing of the training scans" in capsys.readouterr().out


def test_each_finding_is_told_with_its_file_and_the_status_is_1(release: Path, capsys: pytest.CaptureFixture[str]) -> None:
    planted = release / "notes.md"
    planted.write_text("made from ukb-1000012 and others\n")
    try:
        with pytest.raises(typer.Exit) as ended:
            main(release, release.parent / "covariates.tsv")
    finally:
        planted.unlink()
    said = capsys.readouterr()
    assert ended.value.exit_code == 1
    assert "notes.md" in said.out
    assert "1 finding(s): do not publish" in said.err
