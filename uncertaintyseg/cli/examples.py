"""What a model is shown on the command line: slices of a folder, in place of training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from uncertaintyseg.cli.console import console
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle

MOST = 16
"""As `data.examples` has it, which brings torch."""
_WHAT = "Examples in place of training"
ExampleFolder = Annotated[
    Path | None,
    typer.Option(
        "--examples",
        help="Folder with images/ and labels/ that shows a model of UniverSeg what to segment: slices in which "
        "something is drawn, or of cases with verified/ those that it covers whole.",
        rich_help_panel=_WHAT,
    ),
]
Plane = Annotated[
    str | None,
    typer.Option(
        help="Plane of the slices: axial, coronal or sagittal; by default that of the thickest slices.",
        rich_help_panel=_WHAT,
    ),
]
Slices = Annotated[int, typer.Option(min=1, max=256, help="How many slices are shown at most.", rich_help_panel=_WHAT)]


@contextmanager
def with_examples(bundle: Bundle, folder: Path | None, plane: str | None, slices: int) -> Iterator[Bundle]:
    """The model as it is, or shown the examples of a folder.

    Raises:
        InputError: as `imports.universeg.shown`, and for a plane or a number of slices without a folder.
    """
    if folder is None:
        if plane is not None or slices != MOST:
            raise InputError("--plane and --slices say how examples are read: name their folder with --examples.")
        yield bundle
        return
    from uncertaintyseg.imports.universeg import shown

    with shown(bundle, folder, plane=plane, most=slices) as found:
        warn_of_others(found)
        yield found


def warn_of_others(bundle: Bundle) -> None:
    """Name the cases that could not be shown to a model beside the others."""
    others = (bundle.uncertainty.origin or {}).get("left_out")
    if others:
        what = "volumes" if bundle.flat else "images or clips"
        console.print(
            f"[yellow]Left out[/yellow] of the examples, for they are {what} and the others are not: "
            f"{escape(', '.join(others))}",
            highlight=False,
        )
