"""The picture of `uncertaintyseg audit`: the places where labels are most likely wrong."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from uncertaintyseg.cli.inspection_picture import outline, to_ras
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.review.order import worst_first
from uncertaintyseg.wire import Region, shown_unit

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from uncertaintyseg.inference.audit import CaseAudit

_PLACES = 6
_AROUND_MM = 20.0
_LABEL, _MODEL = "#00E676", "white"


class View(NamedTuple):
    """The axial slice of a region, `[Y, X]` about it."""

    case: str
    region: Region
    slices: dict[str, np.ndarray]
    aspect: float
    place: tuple[int, int]
    channel: str
    unit: str


class WorstViews:
    """Slices through the worst region of each structure; of many cases only the worst are kept."""

    def __init__(self) -> None:
        self._views: list[View] = []

    def take(self, views: Sequence[Sequence[Any]]) -> None:
        """Look at one more case: `views_of` it."""
        every = self._views + [View(view[0], Region.model_validate(view[1]), *view[2:]) for view in views]
        self._views = _worst(every)

    def draw(self, path: Path) -> None:
        """Write the picture.

        Args:
            path: of the PNG file.
        """
        from matplotlib.figure import Figure
        from matplotlib.lines import Line2D

        columns = min(3, max(1, len(self._views)))
        rows = -(-len(self._views) // columns) or 1
        figure = Figure(figsize=(4.2 * columns, 4.4 * rows + 0.6), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set(xticks=[], yticks=[], facecolor="black", visible=False)
        drawn = [_draw(axes, view) for axes, view in zip(panels, self._views, strict=False)]
        if drawn:
            bar = figure.colorbar(drawn[0], ax=panels.tolist(), shrink=0.6)
            bar.set_label("probability that the label is wrong")
        lines = [Line2D([], [], color=_LABEL, label="label"), Line2D([], [], color=_MODEL, ls="--", label="model")]
        figure.legend(handles=lines, loc="outside lower center", ncols=2, facecolor="0.4", labelcolor="white")
        figure.suptitle("Where the labels are most likely wrong" if drawn else "No label is doubted anywhere")
        buffer = io.BytesIO()
        figure.savefig(buffer, dpi=110)
        write_bytes(path, buffer.getvalue())


def views_of(audited: CaseAudit) -> list[list[Any]]:
    """The worst places of a case, a `View` each as JSON with arrays."""
    first = {region.structure: region for region in reversed(audited.review.regions)}
    ids = {row.name: row.id for row in audited.review.structures}
    views = _worst([_view(audited, region, ids[name]) for name, region in first.items()])
    return [[view.case, view.region.model_dump(), *view[2:]] for view in views]


def _worst(views: list[View]) -> list[View]:
    return worst_first(views, lambda view: view.region.expected_error_ml)[:_PLACES]


def _view(audited: CaseAudit, region: Region, class_id: int) -> View:
    volumes = {
        "scan": audited.scan,
        "label": audited.label == class_id,
        "model": audited.prediction.label == class_id,
        "error": audited.review.error_probability,
    }
    volumes, affine = to_ras(volumes, audited.prediction.affine)
    spacing = spacing_mm(affine)
    turn = np.linalg.inv(affine) @ audited.prediction.affine
    ends = np.rint(turn @ np.transpose([[*ijk, 1] for ijk in (*region.bounding_box, region.ijk)])).astype(int)[:3]
    x, y = (
        slice(max(0, low - math.ceil(_AROUND_MM / side)), high + math.ceil(_AROUND_MM / side) + 1)
        for low, high, side in zip(ends.min(1), ends.max(1), spacing[:2], strict=False)
    )
    slices = {name: volume[x, y, ends[2, 2]].T.copy() for name, volume in volumes.items()}
    place = (int(ends[0, 2]) - x.start, int(ends[1, 2]) - y.start)
    channel = next(iter(audited.prediction.provenance.channels), "")
    unit = audited.prediction.measure.unit
    return View(audited.id, region, slices, spacing[1] / spacing[0], place, channel, unit)


def _slice_of(view: View) -> str:
    """What is drawn, for people: mm along the body are those of volumes alone."""
    if view.region.frame is not None:
        return f"frame {view.region.frame + 1}"
    return f"axial, S {view.region.ras_mm[2]:.0f} mm" if view.unit == "mL" else "image"


def _draw(axes: Axes, view: View) -> AxesImage:
    options = {"origin": "lower", "aspect": view.aspect, "interpolation": "nearest"}
    low, high = np.percentile(view.slices["scan"], [1, 99])
    axes.imshow(view.slices["scan"], cmap="gray", vmin=low, vmax=max(high, low + 1e-6), **options)
    heat = np.ma.masked_less(view.slices["error"], 0.2)
    drawn = axes.imshow(heat, cmap="inferno", vmin=0, vmax=1, alpha=0.6, **options)
    outline(axes, view.slices["label"], _LABEL, "solid")
    outline(axes, view.slices["model"], _MODEL, "dashed")
    axes.plot(*view.place, "x", color="#0072B2", markersize=9, markeredgewidth=2.5)
    region = view.region
    size = f"{region.expected_error_ml:.2f} {shown_unit(view.unit)}"
    axes.set_title(f"{view.case}, {region.structure}: {region.kind}, {size}", fontsize=10)
    over = f", over {view.channel}" if view.channel else ""
    axes.set_xlabel(f"{_slice_of(view)}{over}", fontsize=9)
    axes.invert_xaxis()  # the patient's right is on the left
    axes.set_visible(True)
    return drawn
