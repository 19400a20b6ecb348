"""The command line: `brainldm <stage> ...` finds the stage's module and calls it."""

import importlib
import logging
import sys
from collections.abc import Callable

import typer

from brainldm import __version__
from brainldm.core.errors import BrainLDMError
from brainldm.core.story import STORY


def application(wanted: str | None) -> typer.Typer:
    """A command per stage; only the module of the one that is wanted is imported, so that --help is instant."""
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(help="From raw T1w scans to a public synthetic brain MRI dataset.")(_options)
    for name, stage in STORY.items():
        app.command(name, help=stage.summary)(_function(name) if name == wanted else _not_called)
    return app


def _function(name: str) -> Callable[..., None]:
    function: Callable[..., None] = importlib.import_module(f"brainldm.stages.{name}").main
    return function


def _not_called() -> None:
    """Stands in the list of commands for a stage that this run does not call."""


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


def _options(version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True)) -> None:
    """Options that belong to no stage."""


def main() -> None:
    """Run; one of our own errors becomes one line on stderr and exit status 1."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    wanted = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        application(wanted)()
    except BrainLDMError as error:
        sys.exit(f"brainldm: error: {error}")


if __name__ == "__main__":
    main()
