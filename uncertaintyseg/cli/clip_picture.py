"""The picture of a clip that `uncertaintyseg predict` draws: areas and uncertainty over its frames."""

from __future__ import annotations

import io
from pathlib import Path

from uncertaintyseg.cli.inspection_picture import COLOURS
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.wire import MEASURE, FrameCurves, shown_unit

_WRONG = "#333333"


def clip_picture(curves: FrameCurves, unit: str, path: Path) -> None:
    """Draw the area of each structure with what is expected to be wrong, and the mean error probability of each frame.

    Args:
        curves: of the clip.
        unit: of areas, "mm2" or "px".
        path: of the PNG file.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    areas, doubt = figure.subplots(1, 2)
    frames = range(1, len(curves.expected_error) + 1)  # as people count them, and as Slicer does
    for number, (name, values) in enumerate(curves.area.items()):
        areas.plot(frames, values, color=COLOURS[number % len(COLOURS)], label=name)
    areas.plot(frames, curves.expected_error, "--", color=_WRONG, label="expected to be wrong (all)")
    areas.set(title="Area over time", ylabel=f"area, {shown_unit(unit)}")
    areas.legend(fontsize="small")
    doubt.plot(frames, curves.uncertainty[MEASURE], color=_WRONG)
    doubt.set(title="Uncertainty over time", ylabel="error probability, mean of the frame")
    for axes in (areas, doubt):
        axes.set(xlabel="frame", ylim=(0, None))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())
