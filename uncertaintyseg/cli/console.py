"""What the commands share: tables, progress bars and options."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.inference.bundle import Bundle

console = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
MoreModels = Annotated[list[Path] | None, typer.Option("--models", help="Folder with more models; repeatable.")]
Device = Annotated[str, typer.Option(help="Torch device: cpu, cuda or cuda:N.")]
Method = Annotated[
    str | None, typer.Option(help="Any name that `uncertaintyseg methods` lists; by default the model's own head.")
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="Setting of the method, such as passes=10; repeatable.")
]
Crf = Annotated[bool, typer.Option("--crf", help="Draw neighbours that look alike together (3D CRF, in mm).")]
Threshold = Annotated[
    str | None,
    typer.Option(help="otsu, percentile, mean_std or fixed on the foreground; by default the most likely class."),
]
ModelName = Annotated[str, typer.Argument(help="Name as `uncertaintyseg models` prints it.", show_default=False)]


def read_options(pairs: list[str] | None) -> dict[str, Any]:
    """Settings given as name=value; a value is JSON where it can be (10, 0.5, true, [1, 2]), else a string.

    Raises:
        InputError: for one without "=".
    """
    found = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            raise InputError(f"--option {pair}: write it as name=value, such as passes=10.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def warn_of_modality(bundle: Bundle, image: Path) -> None:
    """Say on stderr that a scan does not look like what a model was trained on.

    Raises:
        InputError: The scan cannot be read.
    """
    from uncertaintyseg.data.modality import modality_doubt

    if doubt := modality_doubt(image, bundle.modality):
        console.print(f"[yellow]Warning:[/yellow] {image} {doubt}")


def print_json(value: Any) -> None:
    """Write JSON to stdout; NaN, which JSON lacks, becomes null."""
    json.dump(without_nan(value), sys.stdout, indent=2)
    sys.stdout.write("\n")


def without_nan(value: Any) -> Any:
    """The same JSON with null for what is not finite."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr; what it gives is called with a line of text and the fraction done.

    Where stderr is no terminal nothing is drawn: a file would only get the bar's line breaks.
    """
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)
        yield lambda text, fraction: bar.update(task, description=text, completed=fraction)
