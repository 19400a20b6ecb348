"""No verb touches a user's files: it refuses, and with --overwrite replaces its own names alone, wherever links lead."""

import os
import shutil
from pathlib import Path

import pytest
from release_files import digests
from typer.testing import CliRunner, Result
from verbs import MINE, VERBS, Verb, command, make_inputs, state

from brainldm.__main__ import application
from brainldm.core.errors import DataError, OutputError

FOLDERS = [name for name, verb in VERBS.items() if not verb.is_file]
FILES = [name for name, verb in VERBS.items() if verb.is_file]
IN_THE_WAY = ("equal", "link", "dangling link", "folder of that name")
ELSEWHERE = ("different", "hidden", "nested", "empty folder")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_inputs(tmp_path_factory.mktemp("inputs"))


@pytest.fixture(scope="module")
def written(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The names that every verb writes, as a run in an empty place shows them."""
    found = {}
    for name, verb in VERBS.items():
        place = tmp_path_factory.mktemp("clean")
        out = place / ("out.tsv" if verb.is_file else "out")
        if verb.is_run:
            result = run(verb, inputs, out)
            assert result.exit_code == 0, f"{name}: {result.output}\n{result.exception!r}"
        base = place if verb.is_file else out
        found[name] = sorted(digests(base)) if verb.is_run else list(verb.writes)
    return found


def run(verb: Verb, inputs: Path, out: Path, overwrite: bool = False) -> Result:
    words = command(verb, inputs, out, overwrite)
    return CliRunner().invoke(application(words[0]), words)


def plant(kind: str, out: Path, name: str, outside: Path) -> None:
    """A user's files in a folder; `name` is one that the verb writes."""
    path = out / name
    path.parent.mkdir(parents=True, exist_ok=True)
    outside.mkdir(exist_ok=True)
    (outside / "victim").write_bytes(MINE)
    if kind == "equal":
        path.write_bytes(MINE)
    elif kind == "link":
        path.symlink_to(outside / "victim")
    elif kind == "dangling link":
        path.symlink_to(outside / "nowhere")
    elif kind == "folder of that name":
        path.mkdir()
        (path / "notes.txt").write_bytes(MINE)
    elif kind == "empty folder":
        (out / "plans").mkdir()
    else:
        other = out / {"different": "thesis.tex", "hidden": ".git", "nested": "a/b/c.txt"}[kind]
        other.parent.mkdir(parents=True, exist_ok=True)
        other.write_bytes(MINE)


def refused(result: Result) -> str:
    assert isinstance(result.exception, OutputError), f"{result.output}\n{result.exception!r}"
    assert "\n" not in str(result.exception)
    return str(result.exception)


@pytest.mark.parametrize("kind", [*IN_THE_WAY, *ELSEWHERE])
@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_with_a_users_files_is_left_as_it_is(name: str, kind: str, inputs: Path, written, tmp_path: Path) -> None:
    verb = VERBS[name]
    if verb.is_shared and kind in ELSEWHERE:
        pytest.skip("the folder is shared: other files are no obstacle")
    for place, one in enumerate(written[name] if name != "init" else ["config.yaml", "profiles/default/config.yaml"]):
        out = tmp_path / f"{place}/out"
        plant(kind, out, one, tmp_path / "outside")
        before = state(tmp_path)
        assert str(out) in refused(run(verb, inputs, out))
        assert state(tmp_path) == before
        if place == 2:
            break


@pytest.mark.parametrize("name", [name for name in FOLDERS if VERBS[name].is_run])
def test_with_overwrite_only_the_verbs_own_files_change(name: str, inputs: Path, written, tmp_path: Path) -> None:
    out, names = tmp_path / "out", written[name]
    for kind, one in zip(("equal", "link", "dangling link"), names, strict=False):
        plant(kind, out, one, tmp_path / "outside")
    for kind in ELSEWHERE:
        plant(kind, out, names[0], tmp_path / "outside")
    before = state(tmp_path)
    result = run(VERBS[name], inputs, out, overwrite=True)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    after, own = state(tmp_path), {f"out/{one}" for one in names}
    made = own | {str(parent) for one in own for parent in Path(one).parents}
    assert {key: value for key, value in after.items() if key not in made} == {
        key: value for key, value in before.items() if key not in made
    }
    assert all(isinstance(after[one], tuple) and after[one][0] != MINE for one in own)


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("overwrite", [False, True])
def test_no_link_on_the_way_leads_a_verb_elsewhere(name: str, overwrite: bool, inputs: Path, written, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    (outside / "deeper").mkdir(parents=True)
    (tmp_path / "link").symlink_to(outside)
    nested = next((Path(one) for one in written[name] if "/" in one), None)
    if nested is not None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / nested.parts[0]).symlink_to(outside / "deeper")
    (tmp_path / "file").write_bytes(MINE)
    (tmp_path / "loop").symlink_to("loop")
    before = state(tmp_path)
    for out in ("link", "file", "file/out", "loop", *(["out"] if nested is not None else [])):
        refused(run(VERBS[name], inputs, tmp_path / out, overwrite))
        assert state(tmp_path) == before


@pytest.mark.parametrize("name", [name for name in FOLDERS if not VERBS[name].is_shared])
def test_dots_lead_to_no_folder_that_is_another(name: str, inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim/thesis.tex").write_bytes(MINE)
    before = state(tmp_path)
    for out in ("not/yet/../../victim", "victim/../victim", "victim/.", "victim/sub/.."):
        refused(run(VERBS[name], inputs, tmp_path / out))
        assert state(tmp_path) == before


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_left_as_it_is_and_replaced_alone(name: str, inputs: Path, written, tmp_path: Path) -> None:
    verb = VERBS[name]
    (tmp_path / "victim").write_bytes(MINE)
    (tmp_path / "notes.txt").write_bytes(MINE)
    kinds = ("file", "link", "dangling link", "folder", "pipe", "below a file")
    for kind in kinds[: 1 if name == "config reference" else None]:  # which takes a second, and writes as schema does
        out = tmp_path / kind / "out.tsv"
        if kind != "below a file":
            out.parent.mkdir()
        if kind == "file":
            out.write_bytes(MINE)
        elif kind == "folder":
            out.mkdir()
        elif kind == "pipe":
            os.mkfifo(out)
        elif kind == "below a file":
            out.parent.write_bytes(MINE)
        else:
            out.symlink_to(tmp_path / ("victim" if kind == "link" else "nowhere"))
        before = state(tmp_path)
        assert str(out) in refused(run(verb, inputs, out))
        assert state(tmp_path) == before
        if kind in ("folder", "pipe", "below a file"):
            refused(run(verb, inputs, out, overwrite=True))
            assert state(tmp_path) == before
        else:
            result = run(verb, inputs, out, overwrite=True)
            assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
            own = {f"{kind}/{one}" for one in written[name]}
            assert {key: value for key, value in state(tmp_path).items() if key not in own} == {
                key: value for key, value in before.items() if key not in own
            }
            assert not out.is_symlink()
            assert out.read_bytes() != MINE


@pytest.mark.parametrize("overwrite", [False, True])
def test_no_input_is_an_output_and_no_output_lies_in_an_input(inputs: Path, overwrite: bool, tmp_path: Path) -> None:
    before = state(inputs)
    cases = {
        "get": ("made/release", "made/release/part", "made/../made/release"),
        "score": ("volumes", "volumes/scored"),
        "view": ("volumes/a.nii.gz",),
        "manifest bids": ("bids/participants.tsv",),
        "manifest table": ("people.csv", "map.yaml"),
        "bundle pack": ("results", "results/packed"),
        "bundle export": ("small/train_autoencoder/model.safetensors",),
        "generate --rows": ("results/request/000000-000001.parquet",),
    }
    for name, outs in cases.items():
        for out in outs:
            refused(run(VERBS[name], inputs, inputs / out, overwrite))
            assert state(inputs) == before, (name, out)


@pytest.mark.parametrize("name", ["get", "manifest bids", "manifest table", "config schema", "view"])
def test_what_a_verb_made_itself_is_no_obstacle_to_the_same_call(name: str, inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / ("out.tsv" if VERBS[name].is_file else "out")
    assert run(VERBS[name], inputs, out).exit_code == 0
    before = digests(tmp_path)
    result = run(VERBS[name], inputs, out)
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    assert digests(tmp_path) == before


def test_get_goes_on_after_an_interruption_but_not_over_a_text_that_was_edited(inputs: Path, tmp_path: Path) -> None:
    out, verb = tmp_path / "out", VERBS["get"]
    assert run(verb, inputs, out).exit_code == 0
    whole = digests(out)
    shutil.rmtree(out / "sub-000002")
    for name in ("README.md", "checksums.sha256"):
        (out / name).unlink()
    assert run(verb, inputs, out).exit_code == 0
    assert digests(out) == whole
    (out / "README.md").write_bytes(MINE)
    assert "README.md: there is such a file" in refused(run(verb, inputs, out))
    assert (out / "README.md").read_bytes() == MINE
    (out / "README.md").unlink()
    (out / "analysis.py").write_bytes(MINE)
    assert "the folder holds analysis.py" in refused(run(verb, inputs, out))


def test_a_manifest_that_was_edited_is_kept(inputs: Path, tmp_path: Path) -> None:
    out, verb = tmp_path / "scans.tsv", VERBS["manifest bids"]
    assert run(verb, inputs, out).exit_code == 0
    out.write_bytes(out.read_bytes().replace(b"train", b"test"))
    before = state(tmp_path)
    refused(run(verb, inputs, out))
    assert state(tmp_path) == before


def test_the_manifest_that_init_leaves_empty_is_filled(inputs: Path, tmp_path: Path) -> None:
    assert run(VERBS["init"], inputs, tmp_path / "lab").exit_code == 0
    assert run(VERBS["manifest bids"], inputs, tmp_path / "lab/scans.tsv").exit_code == 0
    assert (tmp_path / "lab/scans.tsv").read_text().count("\n") == 3


@pytest.mark.parametrize("name", [name for name in FOLDERS if VERBS[name].is_run])
def test_the_folder_one_stands_in_is_a_folder_like_any_other(
    name: str, inputs: Path, written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(VERBS[name], inputs, Path())
    assert result.exit_code == 0, f"{result.output}\n{result.exception!r}"
    assert sorted(digests(tmp_path)) == written[name]


@pytest.mark.parametrize("name", VERBS)
def test_a_name_that_no_disk_takes_is_one_error(name: str, inputs: Path, tmp_path: Path) -> None:
    result = run(VERBS[name], inputs, tmp_path / ("x" * 300 + ".tsv"))
    assert isinstance(result.exception, DataError), f"{result.output}\n{result.exception!r}"
    assert "\n" not in str(result.exception)
    assert state(tmp_path) == {}


def test_bundle_pack_names_its_folder(inputs: Path) -> None:
    words = [str(word) for word in VERBS["bundle pack"].words(inputs)]
    result = CliRunner().invoke(application("bundle"), words)
    assert result.exit_code == 2
    assert "Missing option '--out'" in result.output
