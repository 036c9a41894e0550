"""A one-page report of a case: the worst places in pictures, the structures in numbers, and where they came from."""

from __future__ import annotations

import csv
import io
import os
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import slicer
from slicer.i18n import tr as _

import UncertaintySegLib
from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic import structures
from UncertaintySegLib.logic.order import worst_first
from UncertaintySegLib.logic.selection import Selection
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.summary import selection_of
from UncertaintySegLib.scene import overlay, snapshots
from UncertaintySegLib.scene.time_plot import Chart
from UncertaintySegLib.server.results import InferResult, Region

WORST = 3
_CONTEXT = 4.0  # how much wider than the region a picture is
_LEAST_MM, _MOST_MM = 50.0, 250.0


@dataclass(frozen=True)
class Report:
    """What a report says.

    Attributes:
        case: Id of the case; nothing else in the report tells whose it is.
        result: The numbers.
        selection: Where on its curve the reviewer stands.
        made: Date and time.
        versions: Of the programs that made it.
        colors: What the colours in the pictures mean; empty without a map.
        legend: The same as a picture, PNG or None.
        regions: The worst regions with their pictures, PNG by the name of the view.
        three_d, curve: Further pictures, PNG or None.
        over_time: Of a clip, each chart over its frames with its picture, PNG.
    """

    case: str
    result: InferResult
    selection: Selection
    made: datetime
    versions: dict[str, str]
    colors: str = ""
    legend: bytes | None = None
    regions: list[tuple[Region, dict[str, bytes]]] = field(default_factory=list)
    three_d: bytes | None = None
    curve: bytes | None = None
    over_time: Sequence[tuple[Chart, bytes]] = ()


def gather(
    session: Session,
    curve: bytes | None = None,
    legend: bytes | None = None,
    over_time: Sequence[tuple[Chart, bytes]] = (),
) -> Report:
    """Take pictures of the worst regions, as the views now show a case, and put all that is known beside them.

    Args:
        session: With a result.
        curve: Picture of the curve, PNG.
        legend: Picture of what the colours mean, PNG.
        over_time: Of a clip, its charts with their pictures, PNG.

    Raises:
        SceneError: There is no result, or its scan is gone.
    """
    scene, result = session.scene, session.state.result
    if result is None or scene.scan is None or scene.scan.GetScene() is None:
        raise SceneError(_("There is nothing to report yet: run a model first."))
    regions = worst_first(result.regions)[:WORST]
    places = [(_in_views(session, region.ras_mm), _field_mm(session, region)) for region in regions]
    pictures = snapshots.at_places(places)
    has_3d = not scene.is_flat and snapshots.shows_surfaces(scene.scene)
    view = snapshots.three_d_view() if has_3d else None
    return Report(
        case=scene.case,
        result=result,
        selection=selection_of(session),
        made=datetime.now().astimezone(),
        versions=_versions(session),
        colors=_colors(session),
        legend=legend,
        regions=list(zip(regions, pictures)),
        three_d=snapshots.png(view) if view is not None else None,
        curve=curve,
        over_time=over_time,
    )


def default_folder() -> Path:
    """Return where reports go until somebody chooses another folder: beside the scenes that are saved."""
    return Path(slicer.app.defaultScenePath) / "UncertaintySeg reports"


def table_file(report: Report) -> bytes:
    """Return the table of structures as CSV, UTF-8 with the mark that spreadsheets look for."""
    text = io.StringIO(newline="")
    headings, rows = structures.table(report.result.structures, report.result.size_unit)
    names, known = structures.shapes(report.result.structures)
    if known:
        by_name = {row[0]: row[1:] for row in known}
        headings = [*headings, *names[1:]]
        rows = [[*row, *by_name.get(row[0], [""] * (len(names) - 1))] for row in rows]
    csv.writer(text).writerows([headings, *rows])
    return text.getvalue().encode("utf-8-sig")


def save_screenshots(folder: Path, case: str) -> list[Path]:
    """Write a picture of every slice view and the 3D view of the layout.

    Raises:
        SceneError: The folder cannot be written to.
    """
    views = dict(snapshots.slice_views())
    three_d = snapshots.three_d_view()
    if three_d is not None:
        views["3D"] = three_d
    stem = file_stem(case, datetime.now().astimezone())
    return [write(folder / f"{stem}_{_safe(name)}.png", snapshots.png(view)) for name, view in views.items()]


def file_stem(case: str, made: datetime) -> str:
    """Return the name of a file about a case, less its ending."""
    return f"{_safe(case)}_{made:%Y-%m-%d_%H%M%S}"


def write(path: Path, content: bytes) -> Path:
    """Write a file that appears only when it is whole, and return its path.

    Raises:
        SceneError: The folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent, suffix=path.suffix)
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(draft, path)
    except OSError as error:
        raise SceneError(
            _("{path} cannot be written: choose another folder ({reason}).").format(path=path, reason=error.strerror)
        ) from error
    return path


def _colors(session: Session) -> str:
    scene, maps = session.scene, session.state.result.maps
    if scene.shown not in maps or scene.shown not in scene.maps:
        return ""
    info = maps[scene.shown]
    return _("{map} from {low:.2g} (dark) to {high:.2g} (bright)").format(
        map=overlay.title(scene.shown, info.unit, info.driven_by),
        low=scene.threshold(scene.shown),
        high=scene.maximum(scene.shown),
    )


def _in_views(session: Session, ras: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return where the views show a position of the scan's file: a transform on the scan moves it."""
    moved = [0.0, 0.0, 0.0]
    session.scene.scan.TransformPointToWorld([float(value) for value in ras], moved)
    return tuple(moved)


def _field_mm(session: Session, region: Region) -> float:
    """Return how wide a picture of a region should be."""
    spacing = session.scene.scan.GetSpacing()
    widest = max((last - first + 1) * mm for first, last, mm in zip(*region.bounding_box, spacing))
    return min(max(_CONTEXT * widest, _LEAST_MM), _MOST_MM)


def _versions(session: Session) -> dict[str, str]:
    info = session.state.info
    versions = {
        "3D Slicer": str(slicer.app.applicationVersion),
        "UncertaintySeg": UncertaintySegLib.__version__,
    }
    if info is not None:
        versions[info.name] = info.version
    return versions


def _safe(name: str) -> str:
    return re.sub(r"[^\w-]+", "_", name)[:80] or "case"
