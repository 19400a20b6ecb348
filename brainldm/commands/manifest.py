"""Write a checked manifest of raw scans: from a BIDS dataset, or from any table and a mapping of its columns."""

import logging
import os
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from brainldm.core import outputs
from brainldm.core.files import sha256
from brainldm.formats.bids_images import EXCLUDED, Choice
from brainldm.formats.manifest import age_summary, read_manifest
from brainldm.formats.manifest_draft import Draft, Rules, is_empty, is_own, settle, write_manifest
from brainldm.formats.oddities import shown
from brainldm.formats.raw_bids import draft_of_bids
from brainldm.formats.raw_table import draft_of_table, read_mapping

app = typer.Typer()

Out = Annotated[Path, typer.Option(help="manifest to write, a .tsv; how it was made goes beside it, as .json")]
HeldOut = Annotated[float, typer.Option(help="share of the participants held out from every training (split test)", min=0, max=1)]
Seed = Annotated[int, typer.Option(help="of the draw of who is held out", min=0)]
Exclude = Annotated[
    list[str] | None, typer.Option(help="entities whose images are not taken: ce-* unless given, '' for none; repeat for each")
]
Prefer = Annotated[list[str] | None, typer.Option(help="entities to prefer among a session's images, such as acq-mprage; repeat for each")]
Skip = Annotated[bool, typer.Option("--skip-incomplete", help="leave out rows without scan, age or sex, and list them in the .json")]

Overwrite = Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)]


@app.command()
def bids(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="BIDS raw dataset")],
    out: Out,
    sessions: Annotated[Literal["first", "all"], typer.Option(help="of each participant; the first is the first by name")] = "first",
    exclude: Exclude = None,
    prefer: Prefer = None,
    held_out: HeldOut = 0.1,
    seed: Seed = 0,
    skip_incomplete: Skip = False,
    overwrite: Overwrite = False,
) -> None:
    """Every T1w scan below sub-*/anat/ and sub-*/ses-*/anat/; ages and sexes from participants.tsv, ages from *_sessions.tsv too."""
    out = _checked(out, overwrite, [folder])
    people = folder / "participants.tsv"
    choice = Choice(EXCLUDED if exclude is None else tuple(filter(None, exclude)), tuple(prefer or ()))
    draft = draft_of_bids(folder, sessions == "all", choice)
    rules = Rules(held_out, seed, skip_incomplete)
    options = {"sessions": sessions, "exclude": list(choice.excluded), "prefer": list(choice.preferred)}
    _write(out, draft, rules, {"kind": "bids", "path": folder, "table_sha256": sha256(people)}, options)


@app.command()
def table(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV or TSV with a line per scan")],
    mapping: Annotated[Path, typer.Option(help="YAML: which column holds what; data_manifest/ukb.yaml is an example")],
    out: Out,
    scans: Annotated[Path | None, typer.Option(help="folder from which relative paths of scans start; the table's own by default")] = None,
    held_out: HeldOut = 0.1,
    seed: Seed = 0,
    skip_incomplete: Skip = False,
    overwrite: Overwrite = False,
) -> None:
    """Every line of a table, through a mapping of its columns."""
    out = _checked(out, overwrite, [file, mapping])
    columns, start = read_mapping(mapping), file.parent if scans is None else scans
    draft = draft_of_table(file, columns, start)
    rules = Rules(held_out, seed, skip_incomplete)
    given = {"mapping": columns.model_dump(mode="json", exclude_defaults=True), "scans": str(start)}
    _write(out, draft, rules, {"kind": "table", "path": file, "table_sha256": sha256(file)}, given)


def _checked(out: Path, overwrite: bool, inputs: list[Path]) -> Path:
    """The path of a manifest that may be written, its record beside it: neither is there, or `manifest` or `init` made them.

    A new manifest may lie in the dataset that it lists; files of the dataset are never replaced.
    """
    if out.suffix != ".tsv":  # which `write_manifest` refuses
        return outputs.check_file(out, overwrite, inputs)
    record = out.with_suffix(".json")
    mine = is_own(out, record)
    for path, is_mine in ((out, mine or is_empty(out)), (record, mine)):
        is_new = is_mine or not os.path.lexists(path)
        outputs.check_file(path, overwrite or is_mine, [file for file in inputs if not (is_new and file.is_dir())])
    return outputs.without_dots(out)


def _write(out: Path, draft: Draft, rules: Rules, source: dict[str, Any], options: dict[str, Any]) -> None:
    settled = settle(draft, rules, source["path"])
    made_from = {"source": source | {"path": str(source["path"])}, "options": options | rules._asdict()}
    splits = write_manifest(out, settled, made_from | {"passed_over": draft.passed_over})["splits"]
    if settled.oddities:
        typer.echo(f"{source['path']}: what is odd\n{shown(settled.oddities)}")
    counts = ", ".join(f"{split}: {count['scans']} scans of {count['participants']}" for split, count in splits.items())
    logging.info("%s: %s participants; %s of %s rows left out", out, counts, len(settled.left_out), len(draft.table))
    logging.info("%s", age_summary(read_manifest(out)))
    for split, count in splits.items():
        if not count["scans"]:
            logging.warning("%s: no scan is in the split %s: choose another --held-out or --seed", out, split)
