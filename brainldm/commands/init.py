"""A project's folder: configuration with every setting, its schema for editors, profiles, an empty manifest, and the workflow."""

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from brainldm.core import outputs
from brainldm.core.config import Config
from brainldm.core.files import write_text, writing
from brainldm.core.project import CONFIG, MANIFEST, WORKFLOW, configuration
from brainldm.formats.manifest import COLUMNS, OPTIONAL

SCHEMA = "config.schema.json"
SNAKEFILE = '''"""The workflow of the installed brainldm, in this folder: `brainldm run --cores N`, or `snakemake --cores N`."""

from brainldm.core.project import SNAKEFILE


include: str(SNAKEFILE)


rule project:
    default_target: True
    input:
        rules.all.input,
'''


def main(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="folder to make; it may exist")],
    preset: Annotated[str, typer.Option(help="configuration to begin with: demo, or a name of workflow/presets")] = "demo",
    population: Annotated[bool, typer.Option("--population", help="keep the demo's embedded population instead of your own scans")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help=outputs.HELP)] = False,
) -> None:
    """Write the folder, the configuration last; what else lies there stays."""
    texts = {
        "Snakefile": SNAKEFILE,
        SCHEMA: json.dumps(Config.model_json_schema(), indent=2) + "\n",
        MANIFEST: "\t".join((*COLUMNS, *OPTIONAL)) + "\n",
        **{f"profiles/{path.parent.name}/{path.name}": path.read_text("utf-8") for path in WORKFLOW.glob("workflow/profiles/*/*.yaml")},
        CONFIG: f"# yaml-language-server: $schema={SCHEMA}\n{configuration(preset, not population)}",
    }
    folder = outputs.check_folder(folder, texts, overwrite, shared=True)
    with writing(folder):
        for name, text in texts.items():
            write_text(folder / name, text)
    logging.info("%s: fill %s (brainldm manifest), look through %s, then `brainldm run --cores N` there", folder, MANIFEST, CONFIG)
