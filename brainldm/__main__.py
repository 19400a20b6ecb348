"""The command line: `brainldm <stage or command> ...` finds its module and calls it."""

import importlib
import logging
import sys

import typer

from brainldm import __version__
from brainldm.commands import COMMANDS
from brainldm.core.errors import explained
from brainldm.core.printable import PrintableFormatter, printable_lines
from brainldm.core.requeue import requeued
from brainldm.core.story import OPTIONAL, STORY


def application(wanted: str | None) -> typer.Typer:
    """A command per stage and per verb; only the module of the one that is wanted is imported, so that --help is instant."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(help="From raw T1w scans to a public synthetic brain MRI dataset.")(_options)
    for name, stage in (STORY | OPTIONAL).items():
        _add(app, f"brainldm.stages.{name}", stage.summary, name == wanted, "Stages")
    for name, summary in COMMANDS.items():
        _add(app, f"brainldm.commands.{name}", summary, name == wanted, "Tools")
    return app


def _add(app: typer.Typer, module: str, summary: str, called: bool, panel: str) -> None:
    """The module's `main`, or its `app` where it has commands of its own, under the last word of its name."""
    name = module.rpartition(".")[2]
    if not called:
        app.command(name, help=summary, rich_help_panel=panel)(_not_called)
        return
    found = importlib.import_module(module)
    if hasattr(found, "app"):
        app.add_typer(found.app, name=name, help=summary, no_args_is_help=True, rich_help_panel=panel)
    else:
        app.command(name, help=summary, rich_help_panel=panel)(found.main)


def _not_called() -> None:
    """Stands in the list of commands for one that this run does not call."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _options(version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True)) -> None:
    """Options that belong to no stage."""


def main() -> None:
    """Run; what a user can mend becomes one line on stderr and exit status 1. SIGTERM ends with REQUEUE: files appear by rename."""
    handler = logging.StreamHandler()
    handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        with requeued():
            application(wanted)()
    except Exception as error:
        if not (told := explained(error, wanted or "")):
            raise
        sys.exit(f"brainldm: error: {printable_lines(told)}")


if __name__ == "__main__":
    main()
