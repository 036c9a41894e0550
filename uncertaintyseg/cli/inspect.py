"""`uncertaintyseg inspect`: shapes and anomaly scores of a saved prediction."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from uncertaintyseg.cli.console import AsJson, console, print_json
from uncertaintyseg.errors import InputError
from uncertaintyseg.wire import SizeUnit, shown_unit

if TYPE_CHECKING:
    from uncertaintyseg.inference.ellipses import MeasuredEllipse
    from uncertaintyseg.inference.inspection import Inspection


def inspect(
    prediction: Annotated[Path, typer.Argument(help="Folder that `uncertaintyseg predict` wrote.")],
    reference: Annotated[
        Path | None, typer.Option(help="Label volume on the same grid, to count the errors that are there.")
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            help="The scan, to draw it behind the picture; of several channels its first file, or its folder."
        ),
    ] = None,
    channel: Annotated[str | None, typer.Option(help="Which of its channels, by name; the first by default.")] = None,
    closing: Annotated[
        float,
        typer.Option(
            min=0, help="Close gaps first, with a ball of this radius in mm, in pixels where the spacing is unknown."
        ),
    ] = 0.0,
    smallest: Annotated[
        float,
        typer.Option(
            min=0,
            help="Drop pieces below this size first: mL of a volume, mm² of an image, pixels of one whose spacing is "
            "unknown.",
        ),
    ] = 0.0,
    largest: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep only so many pieces of each structure first, the largest: 1; of one structure NAME=2, such as "
            '"lateral ventricles=2". Repeatable.'
        ),
    ] = None,
    ignore: Annotated[
        int | None,
        typer.Option(help="Id in the reference of voxels without a verdict, compared nowhere; by default the model's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the shapes of a prediction's structures and how far each may be from the truth.

    The expected anomaly is the volume that the model expects to be wrong, relative to what it predicted: 0 is sure.
    With a reference, what is wrong is counted too. Both are drawn as heat maps (NIfTI) and in inspection.png.
    In an image each structure's outer border gets an ellipse and its circumference, such as that of a head, with the
    interval of a border that moves as a whole (docs/metrics.md); without a known spacing it is in pixels.

    A clip has no shapes here: predict and inspect its frames as images.

    Example: uncertaintyseg inspect prediction --reference label.nii.gz, or cleaned first: --largest 1
    --largest "lateral ventricles=2" --smallest 5
    """
    from uncertaintyseg.cli.inspection_picture import inspection_picture
    from uncertaintyseg.data.channels import read_channels
    from uncertaintyseg.inference.inspection import inspect as look_at

    clean = {"closing_mm": closing, "smallest": smallest, "largest": _pieces(largest)}
    found = look_at(prediction, reference, **clean, ignore=ignore)
    names = list(found.channels)
    number = 0 if channel is None else _place(channel, names)
    scan = None if image is None else read_channels(image, len(names) or 1, names)[number : number + 1]
    picture = prediction.resolve() / "inspection.png"
    inspection_picture(found, scan, picture, names[number] if names else "")
    files = found.save(prediction)
    if as_json:
        print_json(
            {
                "structures": found.table(),
                "size_unit": found.size_unit,
                "cleaned": clean if found.cleaned else None,
                "expected_errors": found.expected_errors,
                "files": [str(path) for path in files],
                "picture": str(picture),
            }
        )
        return
    _show(found)
    if found.cleaned:
        console.print(_cleaned(found.size_unit, **clean), highlight=False)
    console.print(f"{', '.join(path.name for path in [*files, picture])} are in {prediction}.")


def _pieces(asked: Sequence[str] | None) -> dict[str, int]:
    """How many pieces stay, by the name of a structure; of all others by an empty one."""
    found = {}
    for text in asked or ():
        name, _equals, number = text.rpartition("=")
        if not (number.strip().isdecimal() and int(number) > 0):
            raise InputError(f"--largest {text}: give how many pieces stay, 1 or more, for one structure NAME=2.")
        found[name.strip()] = int(number)
    return found


def _cleaned(unit: SizeUnit, closing_mm: float, smallest: float, largest: Mapping[str, int]) -> str:
    """What was done to the label first, in a sentence."""
    done = [f"gaps closed by {closing_mm:g} {'pixels' if unit == 'px' else 'mm'}"] if closing_mm else []
    done += [f"pieces below {smallest:g} {shown_unit(unit)} dropped"] if smallest else []
    done += [f"the largest {count} of {name or 'each other structure'} kept" for name, count in largest.items()]
    return f"Cleaned first: {', '.join(done)}."


def _place(channel: str, names: Sequence[str]) -> int:
    """Which of the channels has a name; capitals do not count."""
    for number, name in enumerate(names):
        if name.casefold() == channel.casefold():
            return number
    raise InputError(f"--channel {channel}: the prediction is of {', '.join(names) or 'a scan of one channel'}.")


def _show(found: Inspection) -> None:
    flat = any(row.area_mm2 is not None for row in found.shapes)
    unknown = found.size_unit == "px"
    size = ("area px" if unknown else "area mm2") if flat else "surface mm2"
    where = "centre, px" if unknown else "centre, RAS mm"
    columns = ["structure", *([] if flat else ["mL"]), size, "pieces", "ecc.", where, "anomaly expected"]
    table = Table(*columns, *(["counted"] if found.reference is not None else []))
    for row in found.shapes:
        place = row.flag if row.centroid_mm is None else "{:.0f}, {:.0f}, {:.0f}".format(*row.centroid_mm)
        extent = row.area_mm2 if flat else row.surface_mm2
        anomaly = found.anomalies[row.name]
        scores = [anomaly.expected, *([anomaly.against_reference] if found.reference is not None else [])]
        volume = [] if flat else [f"{row.volume_ml:.2f}"]
        form = [_figure(extent, 0), str(row.components), _figure(row.eccentricity, 2), place]
        table.add_row(row.name, *volume, *form, *(_figure(score, 3) for score in scores))
    console.print(table)
    for name, ellipse in found.ellipses.items():
        console.print(f"{name}: {_around(ellipse)}", highlight=False)


def _around(ellipse: MeasuredEllipse) -> str:
    """The circumference, in a sentence."""
    own = ellipse.found
    if own is None:
        return f"no circumference: {ellipse.reason}"
    text = f"circumference {own.circumference:.1f} {own.unit}"
    if own.circumference_95:
        text += " (95 %: {:.1f} to {:.1f})".format(*own.circumference_95)
    if ellipse.error is not None:
        text += f", {ellipse.error:+.1f} {own.unit} against the reference's {ellipse.reference:.1f}"
    return f"{text} (its spacing is unknown)" if own.unit == "px" else text


def _figure(value: float | None, digits: int) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"
