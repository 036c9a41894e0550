"""The charts of a plan's page: what a data set looks like in numbers, as PNG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from uncertaintyseg.planning.fingerprint import HIGH, LOW, Fingerprint

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from uncertaintyseg.data.dataset import Structure

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "0.45"
_DPI = 130
_WIDE = 50.0  # times the median: intensities are then drawn by their logarithm
_SPREAD = 30.0  # times the smallest volume: volumes are then drawn by their logarithm
_LONG = 30  # structures
_AXES = ("R-L", "A-P", "S-I")
_AXES_OF_IMAGES = ("columns", "rows")


def intensities(fingerprint: Fingerprint, number: int, *, clipped: bool) -> bytes:
    """How the intensities of a channel are spread over the structures, every case counted alike.

    Args:
        fingerprint: of the data set.
        number: of the channel.
        clipped: whether the plan clips them at the percentiles that are marked.
    """
    facts = fingerprint.channels[number]
    samples = [case.channels[number].sample for case in fingerprint.cases if case.channels[number].sample.size]
    figure, axes = _figure(6.2, 2.9)
    values = np.concatenate(samples) if samples else np.zeros(1)
    by_logarithm = facts.high > _WIDE * facts.median > 0 and facts.low > 0
    low, high = facts.low, facts.high
    if by_logarithm:
        axes.set_xscale("log")
        edges = np.geomspace(low / 2, high * 2, 90)
    else:
        margin = 0.12 * (high - low) or 1.0
        edges = np.linspace(low - margin, high + margin, 90)
    shares = np.histogram(values, edges)[0] / values.size
    axes.stairs(shares * 100, edges, fill=True, color=_BLUE, alpha=0.75)
    for place, share in ((low, LOW), (high, HIGH)):
        axes.axvline(place, color=_ORANGE, linewidth=1.2)
        what = "clipped at" if clipped else f"{share:g} %:"
        side = "left" if share == LOW else "right"
        axes.annotate(
            f"{what} {figure_of(place)}", (place, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 3),
            textcoords="offset points", ha=side, color=_ORANGE, fontsize=8,
        )  # fmt: skip
    medians = [sample[sample.size // 2] for sample in samples]
    axes.plot(medians, np.full(len(medians), -0.035), "|", color="black", markersize=7, clip_on=False, alpha=0.5,
              transform=axes.get_xaxis_transform())  # fmt: skip
    axes.tick_params(axis="x", pad=9)
    axes.set(xlabel=f"{facts.name}; below the axis a line for each case's median", ylabel="% of the voxels")
    axes.set_xlim(edges[0], edges[-1])
    return _png(figure)


def grids(fingerprint: Fingerprint, spacing: Sequence[float] | None, patch: Sequence[int] | None) -> bytes:
    """Voxel sizes and extents of all scans by axis, with those of the plan.

    Args:
        fingerprint: of the data set.
        spacing: that is planned, in mm.
        patch: that is planned, in voxels of that spacing.
    """
    names = _AXES_OF_IMAGES if fingerprint.flat else _AXES
    spacings = fingerprint.spacings[:, : len(names)]
    extents = spacings * np.array([case.shape for case in fingerprint.cases])[:, : len(names)]
    planned = None if spacing is None or patch is None else np.multiply(spacing, patch)[: len(names)]
    spacing = None if spacing is None else spacing[: len(names)]
    figure = Figure(figsize=(6.2, 2.9), layout="constrained")
    rng, alpha = np.random.default_rng(0), float(np.clip(30 / len(spacings), 0.25, 0.9))
    for axes, rows, plan, title, name in (
        (figure.add_subplot(1, 2, 1), spacings, spacing, f"Voxels, {fingerprint.unit}", "planned"),
        (figure.add_subplot(1, 2, 2), extents, planned, f"Scans, {fingerprint.unit}", "patch"),
    ):
        for axis in range(len(names)):
            beside = axis + rng.uniform(-0.18, 0.18, len(rows))
            axes.plot(beside, rows[:, axis], "o", color=_BLUE, markersize=4, alpha=alpha, markeredgewidth=0)
        if plan is not None:
            places = np.arange(len(names))
            axes.hlines(plan, places - 0.35, places + 0.35, color=_ORANGE, linewidth=1.8, label=name)
            axes.legend(loc="upper left", fontsize=8, frameon=False, bbox_to_anchor=(0, 1.14), handlelength=1.2)
        axes.set_title(title, fontsize=9, loc="right")
        axes.set_xticks(range(len(names)), names)
        axes.set(xlim=(-0.6, len(names) - 0.4), ylim=(0, 1.1 * max(rows.max(), 0 if plan is None else max(plan))))
        axes.yaxis.set_major_locator(MaxNLocator(5))
        _plain(axes)
    return _png(figure)


def structures(fingerprint: Fingerprint, labels: Sequence[Structure]) -> bytes:
    """Volumes of each structure over the cases that hold it, and how many these are.

    Args:
        fingerprint: of the data set.
        labels: its structures.
    """
    figure = Figure(figsize=(9.6, 0.9 + 0.27 * max(2, len(labels))), layout="constrained")
    volumes, counts = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    rows = [
        np.array([case.volumes[label.id] for case in fingerprint.cases if label.id in case.voxels])
        * fingerprint.size_scale
        for label in labels
    ]
    places = np.arange(len(labels))
    drawn = volumes.boxplot(
        rows, positions=places, orientation="horizontal", widths=0.6, patch_artist=True,
        flierprops={"marker": ".", "markersize": 4, "markeredgecolor": "none", "markerfacecolor": _GREY},
        medianprops={"color": "black"},
    )  # fmt: skip
    colours = [tuple(part / 255 for part in label.rgb) for label in labels]
    for box, colour in zip(drawn["boxes"], colours, strict=True):
        box.set(facecolor=colour, edgecolor="0.3", linewidth=0.8)
    measured = np.concatenate([*rows, [1.0] * (not any(row.size for row in rows))])
    if measured.max() > _SPREAD * measured.min():
        volumes.set_xscale("log")
        volumes.xaxis.set_major_locator(LogLocator(numticks=12))
        volumes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        volumes.xaxis.set_minor_formatter(NullFormatter())
    else:
        volumes.set_xlim(0, measured.max() * 1.05)
    volumes.set_yticks(places, [label.name for label in labels])
    size = "area" if fingerprint.flat else "volume"
    said = f"{size}, {fingerprint.size_unit} (box: middle half of the cases)"
    volumes.set(xlabel=said, ylim=(len(labels) - 0.4, -0.6))
    counts.barh(places, [row.size for row in rows], color=colours, edgecolor="0.3", linewidth=0.6, height=0.6)
    total = len(fingerprint.cases)
    for place, row in zip(places, rows, strict=True):
        counts.annotate(
            f"{row.size}", (row.size, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8
        )
    counts.set(xlabel=f"cases that hold it, of {total}", xlim=(0, total * 1.18))
    for axes in (volumes, counts):
        _plain(axes)
        axes.tick_params(labeltop=len(labels) > _LONG)  # the lower end is far away
    volumes.grid(axis="x", color="0.92")
    volumes.set_axisbelow(True)
    return _png(figure)


def figure_of(value: float) -> str:
    """A number of four digits or, from a thousand on, a whole one."""
    if not np.isfinite(value):
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _figure(width: float, height: float) -> tuple[Figure, Axes]:

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    axes.yaxis.label.set_size(9)


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=_DPI)
    return buffer.getvalue()
