"""The picture of `uncertaintyseg inspect`: where errors are expected, and where they are."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from uncertaintyseg.data.geometry import resample, spacing_mm
from uncertaintyseg.data.writing import write_bytes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from monai.data import MetaTensor

    from uncertaintyseg.inference.inspection import Inspection

COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#CC79A7", "#F0E442", "#0072B2", "#D55E00")
PLANES = ("sagittal", "coronal", "axial")


def inspection_picture(found: Inspection, scan: MetaTensor | None, path: Path, channel: str = "") -> None:
    """Draw the slice with the largest expected error: outlines, heat map and, with a reference, the mismatch.

    Args:
        found: by `inspect`.
        scan: drawn behind, where given.
        path: of the PNG file.
        channel: name of the scan's channel that is drawn, where it has several.
    """
    from matplotlib.figure import Figure

    volumes = {"label": found.label, "error": found.error_probability}
    if found.reference is not None:
        volumes |= {"reference": found.reference, "wrong": np.any(list(found.mismatches.values()), axis=0)}
    if scan is not None:
        volumes["scan"] = resample(scan, scan.affine, found.affine, found.label.shape)[0].numpy()
    volumes, affine = to_ras(volumes, found.affine)
    axis = next((axis for axis in (2, 1, 0) if found.label.ndim == 3 and volumes["label"].shape[axis] == 1), 2)
    error = volumes["error"].sum(tuple(other for other in range(3) if other != axis))
    index = int(error.argmax())
    slices = {name: np.take(volume, index, axis).T for name, volume in volumes.items()}
    sides = np.delete(spacing_mm(affine), axis)

    panels = ["Prediction", "Expected error"] + (["Wrong"] if found.reference is not None else [])
    figure = Figure(figsize=(4.2 * len(panels), 4.6), layout="constrained")
    middle = affine @ [*np.insert((np.array(slices["label"].T.shape) - 1) / 2, axis, index), 1]
    over = f", over {channel}" if channel and scan is not None else ""
    where = f"{PLANES[axis]} slice at {'RAS'[axis]} = {middle[axis]:.1f} mm, the one with most expected error"
    figure.suptitle((where if found.size_unit == "mL" else "The image") + over)
    names = {row.id: row.name for row in found.shapes}
    for axes, title in zip(figure.subplots(1, len(panels)), panels, strict=True):
        axes.set(title=title, xticks=[], yticks=[], facecolor="black")
        _draw(axes, title, slices, sides[1] / sides[0], names)
        if axis:  # as radiologists look at it: the patient's right is on the left
            axes.invert_xaxis()
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=120)
    write_bytes(path, buffer.getvalue())


def _draw(axes: Axes, title: str, slices: dict[str, np.ndarray], aspect: float, names: dict[int, str]) -> None:
    from matplotlib.lines import Line2D

    options = {"origin": "lower", "aspect": aspect, "interpolation": "nearest"}
    if "scan" in slices:
        low, high = np.percentile(slices["scan"], [1, 99])
        axes.imshow(slices["scan"], cmap="gray", vmin=low, vmax=high, **options)
    else:
        axes.imshow(np.zeros_like(slices["error"]), cmap="gray", vmin=0, vmax=1, **options)
    if title == "Expected error":
        heat = np.ma.masked_less(slices["error"], 0.02)
        drawn = axes.imshow(heat, cmap="inferno", vmin=0, vmax=0.5, alpha=0.85, **options)
        axes.figure.colorbar(drawn, ax=axes, shrink=0.75, extend="max", label="1 - p[label]")
    if title == "Wrong":
        axes.imshow(np.ma.masked_equal(slices["wrong"], 0), cmap="autumn", vmin=1, vmax=2, alpha=0.55, **options)
    lines = []
    for number, (class_id, name) in enumerate(names.items()):
        colour = COLOURS[number % len(COLOURS)]
        outline(axes, slices["label"] == class_id, colour, "solid")
        if title == "Wrong":
            outline(axes, slices["reference"] == class_id, colour, "dotted")
        lines.append(Line2D([], [], color=colour, label=name))
    if title == "Prediction":
        axes.legend(handles=lines, loc="lower left", fontsize="small", framealpha=0.7)
    if title == "Wrong":
        axes.set_xlabel("solid: prediction, dotted: reference")


def outline(axes: Axes, inside: np.ndarray, colour: str, style: str) -> None:
    """Draw the outline of a mask of one slice, where it has one."""
    if inside.any() and not inside.all() and min(inside.shape) > 1:
        axes.contour(inside, levels=[0.5], colors=colour, linewidths=1.2, linestyles=style)


def to_ras(volumes: dict[str, np.ndarray], affine: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The volumes with their axes turned to run right, forward and up, as nearly as flips and swaps can."""
    from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

    turn = io_orientation(affine)
    turned = {name: apply_orientation(volume, turn) for name, volume in volumes.items()}
    return turned, affine @ inv_ornt_aff(turn, volumes["label"].shape)
