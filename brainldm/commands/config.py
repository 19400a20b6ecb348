"""The configuration for people: is it right, what does it say, what would an edit re-run, what is there to set."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from brainldm.core import outputs
from brainldm.core.changes import STAGES, differences, sections, touched
from brainldm.core.config import Config
from brainldm.core.files import read_json, write_text
from brainldm.core.project import CONFIG, WORKFLOW
from brainldm.core.reference import flat, page
from brainldm.core.story import OPTIONAL, STORY
from brainldm.formats.settings import read_config, read_values

app = typer.Typer()
File = Annotated[Path, typer.Argument(metavar="FILE", help="configuration, whole")]
Out = Annotated[Path | None, typer.Option(help="file to write instead of printing")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)]


@app.command()
def check(file: File = Path(CONFIG)) -> None:
    """Whether it is right; every fault, where it is not. `brainldm doctor` checks scans, weights and hardware too."""
    read_config(file)
    typer.echo(f"{file}: right")


@app.command()
def show(file: File = Path(CONFIG)) -> None:
    """The values that will be used, as YAML; a comment tells those that the file leaves to their defaults."""
    used = read_config(file).model_dump(mode="json")
    given = flat(read_values(file))
    for name, value in flat(used).items():
        own = any(name == key or name.startswith(f"{key}.") for key in given)
        typer.echo(f"{name}: {json.dumps(value)}{'' if own else '   # default'}")


@app.command()
def diff(
    file: File = Path(CONFIG),
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER]", help="another configuration; else what --results were made with")
    ] = None,
    results: Annotated[Path, typer.Option(help="folder of results")] = Path("results"),
) -> None:
    """What differs, from OTHER (or the last run) to FILE, and the stages that would run again."""
    config = read_config(file)
    new = sections(config)
    if other is not None:
        before = read_config(other)
        old, found = sections(before), differences(before, config)
    else:
        old = {stage: read_json(path) for stage in STAGES if (path := results / f"configure/{stage}.json").is_file()}
        found = _of_sections(old, new)
    for name, (was, becomes) in found.items():
        typer.echo(f"{name}: {json.dumps(was)} -> {json.dumps(becomes)}")
    again, known = touched(old, new, list(found)), STORY if other is not None else old
    typer.echo(f"runs again: {', '.join(stage for stage in again if stage in known) or 'nothing'}")
    if other is not None and (optional := [stage for stage in again if stage in OPTIONAL]):
        typer.echo(f"and where they were asked for: {', '.join(optional)}")
    if other is None:
        typer.echo(f"not recorded in {results}, so not compared: source, segmenter, request.n_rows, request.rows_per_shard")
    elif "request.n_rows" in found and "request" not in again:
        typer.echo("request.n_rows: shards are added (or left); but for the last of them, those that are made stay")


def _of_sections(old: dict[str, Any], new: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings that differ, by dotted name: (as the stages were told, as they would be)."""
    found: dict[str, tuple[Any, Any]] = {}
    for stage, told in old.items():
        was, becomes = (flat({**each, "section": {stage: each["section"]}}) for each in (told, new[stage]))
        for name in [*was, *(name for name in becomes if name not in was)]:
            if was.get(name) != becomes.get(name):
                found[name.removeprefix("section.")] = (was.get(name), becomes.get(name))
    return found


@app.command()
def schema(out: Out = None, overwrite: Overwrite = False) -> None:
    """The JSON schema of a configuration, for editors."""
    _tell(json.dumps(Config.model_json_schema(), indent=2) + "\n", out, overwrite)


@app.command()
def reference(out: Out = None, overwrite: Overwrite = False) -> None:
    """Every setting with its type, limits, default and the demo's value, in Markdown."""
    _tell(page(read_values(WORKFLOW / CONFIG)), out, overwrite)


def _tell(text: str, out: Path | None, overwrite: bool) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        write_text(outputs.check_file(out, overwrite, content=text.encode()), text)
