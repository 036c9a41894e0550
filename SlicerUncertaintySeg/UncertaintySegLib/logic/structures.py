"""The structure table: a row for each structure, in words and in the order that was asked for.

The panel, the report and its CSV all take their texts from here, so that they say the same.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

from slicer.i18n import tr as _

from UncertaintySegLib.logic import sizes
from UncertaintySegLib.logic.order import worst_first
from UncertaintySegLib.server.results import FittedEllipse, Shape, Structure
from UncertaintySegLib.server.sizes import ML

FEW = 12
"""So many structures are seen at a glance; more can be filtered."""


_UNKNOWN = "-"


@dataclass(frozen=True)
class Column:
    """One column: its heading and its tooltip, what stands in it, and by what it is sorted.

    Attributes:
        brief: What stands in it where there is little room: the same column, shorter, or None: the column is left out.
        is_spare: Whether it is made brief where there is little room; a row's tooltip has all of it anyway.
    """

    heading: str
    tooltip: str
    text: Callable[[Structure], str]
    key: Callable[[Structure], float | str | None]
    brief: Column | None = None
    is_spare: bool = False

    @property
    def title(self) -> str:
        """The heading in one line."""
        return self.heading.replace("-\n", "").replace("\n", " ")


def numbered(label_id: int, name: str) -> str:
    """Return a structure in a list of choices: the number that its voxels have, and its name."""
    return f"{label_id}  {name}"


def volume(ml: float, digits: int = 2) -> str:
    """Return a size with about three digits, `digits` of them behind the point where it is small."""
    return f"{ml:.0f}" if ml >= 100 else f"{ml:.1f}" if ml >= 10 else f"{ml:.{digits}f}"


def _interval(structure: Structure) -> str:
    if structure.volume_ml_95 is None:
        return volume(structure.volume_ml)
    low, high = structure.volume_ml_95
    return f"{volume(structure.volume_ml)} [{volume(low)}, {volume(high)}]"


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.3f}"


def _volume_or_none(ml: float | None) -> str:
    return _UNKNOWN if ml is None else volume(ml)


class _Made(NamedTuple):
    """The columns in one unit: the usual ones, those of a review, and the size without and with its interval."""

    usual: tuple[Column, ...]
    reviewed: tuple[Column, ...]
    size: Column
    interval: Column


@cache
def _made(unit: str) -> _Made:
    in_unit = {"unit": sizes.shown(unit)}
    if sizes.is_area(unit):
        error = _("Area that is expected to be wrongly in or out of the structure; of a clip the mean of its frames.")
        about, heading, both = (
            _("Area; of a clip the mean of its frames."),
            _("Area,\n{unit}"),
            _("Area, {unit}\n[95 %]"),
        )
    else:
        error = _("Volume that is expected to be wrongly in or out of the structure.")
        about, heading, both = _("Volume."), _("Volume,\n{unit}"), _("Volume, {unit}\n[95 %]")
    elsewhere = _("{about} A row's tooltip has its interval, where the model gives one.").format(about=about)
    interval = _("{about} In brackets the interval that holds it with 95 % probability under the model.")
    size = Column(heading.format(**in_unit), elsewhere, lambda row: volume(row.volume_ml), lambda row: row.volume_ml)
    with_interval = Column(
        both.format(**in_unit),
        interval.format(about=about),
        _interval,
        lambda row: row.volume_ml,
        brief=size,
        is_spare=True,
    )
    wrong = Column(
        _("Error,\n{unit}").format(**in_unit),
        error,
        lambda row: _volume_or_none(row.expected_error_ml),
        lambda row: row.expected_error_ml,
    )
    excess = Column(
        _("Excess,\n{unit}").format(**in_unit),
        _("Expected error of the label beyond that of the model's own."),
        lambda row: _volume_or_none(row.excess_error_ml),
        lambda row: row.excess_error_ml,
    )
    return _Made((_NAME, wrong, with_interval, _RISK, _DICE), (excess, _ANOMALY), size, with_interval)


_NAME = Column(
    _("Structure"),
    _("A click shows its riskiest place, a double click shows it alone. ⚠: its tooltip says why to look at it."),
    lambda row: f"⚠ {row.name}" if row.flag else row.name,
    lambda row: row.name.lower(),
)
_RISK = Column(
    _("Mean\nrisk"),
    _("Mean error probability inside the structure."),
    lambda row: _number(row.mean_risk),
    lambda row: row.mean_risk,
    is_spare=True,
)
_DICE = Column(
    _("Dice"),
    _("Dice overlap with the truth that the model expects; a row's tooltip says what it is made from."),
    lambda row: _number(row.expected_dice),
    lambda row: row.expected_dice,
    is_spare=True,
)
_EXPECTED_ANOMALY = Column(
    _("Expected\nanomaly"),
    _("Voxels expected on the wrong side of the structure's border, relative to its size: 0 is sure."),
    lambda row: _number(row.expected_anomaly),
    lambda row: row.expected_anomaly,
    is_spare=True,
)
_ANOMALY = Column(
    _("Ano-\nmaly"),
    _("How far the label is from the model's own, relative to the structure's size."),
    lambda row: _number(row.anomaly_score),
    lambda row: row.anomaly_score,
)


def columns(structures: Sequence[Structure], unit: str = ML) -> tuple[Column, ...]:
    """Return the columns that these structures, whose sizes are in a unit, fill."""
    made = _made(unit)
    reviewed = any(row.excess_error_ml is not None or row.anomaly_score is not None for row in structures)
    expected = (_EXPECTED_ANOMALY,) if any(row.expected_anomaly is not None for row in structures) else ()
    found = made.usual + expected + (made.reviewed if reviewed else ())
    if any(row.volume_ml_95 is not None for row in structures):
        return found
    return tuple(made.size if column is made.interval else column for column in found)


def table(structures: Sequence[Structure], unit: str = ML) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of all structures for a file, the worst first.

    The numbers are those of the panel; an interval has columns of its own, what is not known is empty, and the last
    column says why to look.
    """
    shown, made = columns(structures, unit), _made(unit)
    headings = [_("Structure"), *(column.title for column in shown[1:])]
    place = next((n for n, column in enumerate(shown) if column is made.interval), None)
    if place is not None:
        ends = (_("95 % from, {unit}"), _("95 % to, {unit}"))
        headings[place : place + 1] = [made.size.title, *(end.format(unit=sizes.shown(unit)) for end in ends)]
    rows = []
    for row in worst_first(structures):
        cells = [row.name, *("" if column.text(row) == _UNKNOWN else column.text(row) for column in shown[1:])]
        if place is not None:
            ends = ("", "") if row.volume_ml_95 is None else map(volume, row.volume_ml_95)
            cells[place : place + 1] = [volume(row.volume_ml), *ends]
        rows.append([*cells, row.flag or ""])
    return [*headings, _("Look because")], rows


def shapes(structures: Sequence[Structure]) -> tuple[list[str], list[list[str]]]:
    """Return the headings and the rows of the structures' shapes, the worst structure first; in images with ellipses.

    No rows where no shape is known, as from servers of old.
    """
    flat = any(row.shape is not None and row.shape.area_mm2 is not None for row in structures)
    headings = [_("Structure"), _("Pieces"), _("Area, mm²") if flat else _("Surface, mm²"), _("Eccentricity")]
    headings += [_("Elongation"), _("Centre, RAS mm"), _("Box from, RAS mm"), _("Box to, RAS mm")]
    ellipses = [row.ellipse for row in structures if row.ellipse is not None]
    if ellipses:
        headings.append(_("Circumference, {unit} [95 %]").format(unit=ellipses[0].unit))
    rows = []
    for row in worst_first(structures):
        if row.shape is not None or row.ellipse is not None:
            form = [""] * 7 if row.shape is None else _form(row.shape, flat)
            rows.append([row.name, *form, *([_circumference(row.ellipse)] if ellipses else [])])
    return headings, rows


def _form(shape: Shape, flat: bool) -> list[str]:
    extent = shape.area_mm2 if flat else shape.surface_mm2
    numbers = ((extent, 1), (shape.eccentricity, 3), (shape.elongation, 2))
    form = ["" if value is None else f"{value:.{digits}f}" for value, digits in numbers]
    return [str(shape.components), *form, *(_place(point) for point in (shape.centroid_mm, *shape.box_mm))]


def _circumference(ellipse: FittedEllipse | None) -> str:
    if ellipse is None:
        return ""
    interval = "" if ellipse.circumference_95 is None else " [{:.1f}, {:.1f}]".format(*ellipse.circumference_95)
    return f"{ellipse.circumference:.1f}{interval}"


def _place(point: tuple[float, float, float]) -> str:
    return ", ".join(f"{value:.1f}" for value in point)


def ordered(structures: Sequence[Structure], column: Column, descending: bool) -> list[Structure]:
    """Return the structures sorted by a column, those without a value last."""
    known = [row for row in structures if not _is_unknown(column.key(row))]
    unknown = [row for row in structures if _is_unknown(column.key(row))]
    return sorted(known, key=column.key, reverse=descending) + unknown


def tooltip(structure: Structure, unit: str = ML) -> str:
    """Return name and label number, why to look at it, all numbers, and how interval and expected Dice were made."""
    label = _("{name}, label {number}").format(name=structure.name, number=structure.id)
    said = ((column.title, column.text(structure)) for column in columns([structure], unit)[1:])
    numbers = [_("{what}: {number}").format(what=what, number=number) for what, number in said if number != _UNKNOWN]
    headings, rows = shapes([structure])
    form = zip(headings[1:], rows[0][1:]) if rows else ()
    numbers += [_("{what}: {number}").format(what=what, number=number) for what, number in form if number]
    parts = [label, structure.flag or "", *numbers, structure.interval_method]
    if structure.dice_method:
        parts.append(_("Dice: {method}").format(method=structure.dice_method))
    return "\n".join(part for part in parts if part)


def _is_unknown(value: float | str | None) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))
