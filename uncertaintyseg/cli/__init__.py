"""The `uncertaintyseg` command.

JSON goes to stdout, everything for people to stderr; exit 2 for a user's mistake.
"""

from __future__ import annotations

import sys

import typer

from uncertaintyseg import __version__
from uncertaintyseg.cli.audit import audit
from uncertaintyseg.cli.backup import backup
from uncertaintyseg.cli.calibrate import calibrate
from uncertaintyseg.cli.convert import convert
from uncertaintyseg.cli.correct import correct
from uncertaintyseg.cli.demo import demo
from uncertaintyseg.cli.evaluate import evaluate
from uncertaintyseg.cli.import_model import import_model
from uncertaintyseg.cli.inspect import inspect
from uncertaintyseg.cli.methods import methods
from uncertaintyseg.cli.models import models
from uncertaintyseg.cli.plan import plan
from uncertaintyseg.cli.predict import predict
from uncertaintyseg.cli.serve import serve
from uncertaintyseg.cli.simulate import simulate
from uncertaintyseg.cli.token import token
from uncertaintyseg.cli.train import train
from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.startup import import_monai_lightly

app = typer.Typer(
    help="Segmentation that knows where it is unsure: risk maps, a MONAI Label server and a 3D Slicer module.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.add_typer(models, name="models")
app.command("import")(import_model)
for command in (
    methods, predict, correct, inspect, evaluate, calibrate, audit, plan, train, simulate, convert, serve, backup,
    token, demo,
):  # fmt: skip
    app.command()(command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(version: bool = typer.Option(False, "--version", callback=_show_version, is_eager=True)) -> None:
    """Options of the command itself."""


def main() -> None:
    """Entry point: one line for a user's mistake instead of a traceback."""
    import_monai_lightly()
    try:
        app()
    except UncertaintySegError as error:
        print(f"uncertaintyseg: {error}", file=sys.stderr)  # noqa: T201
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
