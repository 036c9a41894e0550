"""What the commands share: tables, progress bars and options."""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from uncertaintyseg.data.channels import Image
    from uncertaintyseg.inference.bundle import Bundle
    from uncertaintyseg.inference.crf import CRF

console = Console(stderr=True)
_A_LINE_EACH = 60.0
"""Seconds between lines of progress where there is no terminal."""

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
MoreModels = Annotated[list[Path] | None, typer.Option("--models", help="Folder with more models; repeatable.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:N, or auto: a GPU where there is one.")]
Method = Annotated[
    str | None, typer.Option(help="Any name that `uncertaintyseg methods` lists; by default the model's own head.")
]
Options = Annotated[
    list[str] | None, typer.Option("--option", help="Setting of the method, such as passes=10; repeatable.")
]
Crf = Annotated[bool, typer.Option("--crf", help="Draw neighbours that look alike together (3D CRF, in mm).")]
CrfOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--crf-option",
        help="Setting of the CRF, which it turns on: weight, sigma_mm, sigma_intensity, smoothness, radius_mm, reach "
        "or iterations, such as weight=10; repeatable.",
    ),
]
Threshold = Annotated[
    str | None,
    typer.Option(
        help="Cut the label from the foreground probability: otsu, percentile=95, mean_std=1 or a number such as 0.4; "
        "from that of one structure: liver:0.4. An uncertainty map is marked: predictive_entropy:otsu. By default the "
        "most likely class."
    ),
]
Structures = Annotated[
    str | None, typer.Option(help="Names, with commas between: these alone get maps and rows; by default all do.")
]
Roi = Annotated[
    str | None,
    typer.Option(help="Look there only: x0,x1,y0,y1,z0,z1, first voxel and one after the last of the scan's axes."),
]
Alpha = Annotated[
    float | None, typer.Option(help="Promise at most this share of the true volume to stay wrong; 0.05 by default.")
]
Delta = Annotated[
    float | None, typer.Option(help="Promise it with confidence 1 - DELTA, such as 0.1; by default on average.")
]
ModelName = Annotated[str, typer.Argument(help="Name as `uncertaintyseg models` prints it.", show_default=False)]


def read_crf(on: bool, pairs: list[str] | None) -> CRF | None:
    """The CRF of `--crf` and `--crf-option`s; None without either.

    Raises:
        InputError: for a setting that it has not, or a value out of its range, which is named.
    """
    from uncertaintyseg.inference.run_settings import crf_of

    return crf_of(on or bool(pairs), read_options(pairs, "--crf-option"))


def read_options(pairs: list[str] | None, flag: str = "--option") -> dict[str, Any]:
    """Settings given as name=value; a value is JSON where it can be (10, 0.5, true, [1, 2]), else a string.

    Raises:
        InputError: for one without "=".
    """
    found = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not (name and equals):
            example = {"--option": "passes", "--set": "patience"}.get(flag, "weight")
            raise InputError(f"{flag} {pair}: write it as name=value, such as {example}=10.")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def warn_of_doubts(bundle: Bundle, image: Image) -> tuple[int, ...]:
    """Say on stderr why a scan does not look like what a model was trained on; tells its size, voxels `[3]`.

    Raises:
        InputError: The scan cannot be read.
    """
    from uncertaintyseg.data.channels import first_channel
    from uncertaintyseg.data.doubts import scan_doubts

    scan = first_channel(image, len(bundle.channels))
    for doubt in scan_doubts(scan, bundle.modality):
        given = image if isinstance(image, str | os.PathLike) else ", ".join(map(str, image))
        console.print(f"[yellow]Warning:[/yellow] {given} {doubt}")
    return tuple(scan.shape[1:])


def tell(*texts: str) -> None:
    """Sentences for people, on stderr; once nothing can go wrong any more, for then there is one line that says so."""
    for text in texts:
        console.print(escape(text), highlight=False)


def warn_of_left_out(data: Path, unlabelled: Sequence[str]) -> None:
    """Say on stderr which scans of a data set have no label, and which files in its labels/ belong to no scan."""
    from uncertaintyseg.data.layouts import labels_of_no_scan

    strangers = [path.name for path in labels_of_no_scan(data)]
    for names, what in ((unlabelled, "without a label"), (strangers, "in labels/ that belong to no scan")):
        if names:
            some = ", ".join([*names[:5], *(["..."] if len(names) > 5 else [])])
            console.print(f"[yellow]Left out:[/yellow] {len(names)} {what}: {escape(some)}", highlight=False)


def tell_ignored(counts: Mapping[str, int]) -> None:
    """Say how many voxels of which cases had no verdict and so counted nowhere."""
    if counts := {case: count for case, count in counts.items() if count}:
        cases = f"{len(counts)} cases" if len(counts) > 1 else next(iter(counts))
        console.print(f"{sum(counts.values())} voxels without a verdict were left out, of {cases}.", highlight=False)


def read_structures(text: str | None) -> list[str] | None:
    """Names given as one text with commas; None: none were given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def read_roi(text: str | None) -> list[tuple[int, int]] | None:
    """First voxel and one after the last of each axis, given as x0,x1,y0,y1,z0,z1; None: nothing was given.

    Raises:
        InputError: for anything but six whole numbers.
    """
    if text is None:
        return None
    try:
        x0, x1, y0, y1, z0, z1 = (int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"--roi {text}: write it as x0,x1,y0,y1,z0,z1, six whole numbers of voxels.") from error
    return [(x0, x1), (y0, y1), (z0, z1)]


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


class _Lines:
    """Progress for a file: a line a minute, with the time that is left."""

    def __init__(self) -> None:
        self.started = self.told = time.monotonic()

    def __call__(self, text: str, fraction: float) -> None:
        now = time.monotonic()
        if now - self.told < _A_LINE_EACH:
            return
        self.told, left = now, ""
        if fraction > 0.01:
            minutes = (now - self.started) * (1 - fraction) / fraction / 60
            left = f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"
        console.print(f"{fraction:.0%}{left}: {text}", markup=False, highlight=False, soft_wrap=True)


class _Bar:
    """Progress on a terminal."""

    def __init__(self, bar: Progress) -> None:
        self.bar, self.task = bar, bar.add_task("starting", total=1.0)

    def __call__(self, text: str, fraction: float) -> None:
        self.bar.update(self.task, description=text, completed=fraction)


_shown: list[Progress] = []
"""The bar that is on the terminal."""


@contextmanager
def bar_away() -> Iterator[None]:
    """Take the bar of `progress_bar` off the terminal for a while, so that somebody can be asked something."""
    for bar in _shown:
        bar.stop()
    try:
        yield
    finally:
        for bar in _shown:
            bar.start()


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr; what it gives is called with a line of text and the fraction done.

    Where stderr is no terminal, such as the log of a job, it is a plain line a minute.
    """
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        _shown.append(bar)
        try:
            yield _Bar(bar)
        finally:
            _shown.remove(bar)
