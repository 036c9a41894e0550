"""Pictures of three cases with the outlines of their labels: the smallest, one in the middle and the largest."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.measuring import Meaning, Volumes, read_volumes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from uncertaintyseg.data.dataset import Structure
    from uncertaintyseg.planning.facts import CaseFacts
    from uncertaintyseg.planning.fingerprint import Fingerprint

_WIDTH = 9.6  # inches
_TALLEST = 3.4
_DPI = 110
_PLANES = ("sagittal", "coronal", "axial")
_ENDS = (("P", "A"), ("R", "L"), ("R", "L"))
"""What is at the left and the right of each plane: the patient's right is on the left, as radiologists look at it."""


@dataclass(frozen=True)
class Example:
    """A picture of a case."""

    case: CaseFacts
    size: str
    """Of which of the three sizes it is."""
    picture: bytes
    """PNG: three planes through the middle of what was drawn, or the image, in true proportions."""
    shown: list[Structure]
    """Structures that can be seen."""


def draw_examples(fingerprint: Fingerprint) -> list[Example]:
    """Draw the three cases; of fewer cases all, and none that can no longer be read."""
    by_size = sorted(
        (case for case in fingerprint.cases if case.voxels),
        key=lambda case: (np.prod(np.multiply(case.shape, case.spacing)), case.id),
    )
    chosen: dict[str, tuple[CaseFacts, str]] = {}
    for name, at in (("smallest", 0), ("largest", len(by_size) - 1), ("one in the middle", len(by_size) // 2)):
        if by_size:
            chosen.setdefault(by_size[at].id, (by_size[at], name))
    files = {case.id: case for case in fingerprint.dataset.cases}
    meaning = Meaning.of(fingerprint.dataset)
    found = []
    for facts, size in sorted(chosen.values(), key=lambda pair: by_size.index(pair[0])):
        try:
            volumes = read_volumes(files[facts.id], meaning)
        except (InputError, MemoryError):
            continue
        found.append(Example(facts, size, *_drawn(volumes, fingerprint.dataset.labels)))
    return found


def _drawn(volumes: Volumes, labels: Sequence[Structure]) -> tuple[bytes, list[Structure]]:
    return _slice(volumes, labels) if volumes.axes != "volume" else _planes(volumes, labels)


def _slice(volumes: Volumes, labels: Sequence[Structure]) -> tuple[bytes, list[Structure]]:
    """An image, or the frame of a clip in which most was drawn, its first row on top."""
    frame = int(np.argmax((volumes.ids > 0).sum((0, 1))))
    drawn, image = volumes.ids[..., frame].T, volumes.channels[0][..., frame].T
    extent = np.multiply(volumes.ids.shape[:2], volumes.spacing[:2])
    scale = min(_WIDTH / 2 / extent[0], _TALLEST / extent[1])
    figure = Figure(figsize=tuple(scale * extent), facecolor="black")
    axes = figure.add_axes((0, 0, 1, 1))
    _panel(axes, image, np.percentile(image[np.isfinite(image)], (1, 99)), volumes.spacing[1] / volumes.spacing[0])
    seen = _outlines(axes, drawn, labels)
    axes.invert_yaxis()
    return _saved(figure), [label for label in labels if label.id in seen]


def _planes(volumes: Volumes, labels: Sequence[Structure]) -> tuple[bytes, list[Structure]]:
    centre = [int(np.median(places)) for places in np.nonzero(volumes.ids > 0)]
    extent = np.multiply(volumes.ids.shape, volumes.spacing)
    across = [extent[[axis for axis in range(3) if axis != plane]] for plane in range(3)]
    wide = np.array([sides[0] for sides in across])
    scale = min(_WIDTH / wide.sum(), _TALLEST / max(sides[1] for sides in across))
    figure = Figure(figsize=(scale * wide.sum(), scale * max(sides[1] for sides in across) + 0.3), facecolor="black")
    panels = figure.subplots(1, 3, width_ratios=wide)
    figure.subplots_adjust(0, 0.0, 1, 1 - 0.3 / figure.get_figheight(), wspace=0.02)
    low, high = np.percentile(_slices(volumes.channels[0], centre), (1, 99))
    seen: set[int] = set()
    for plane, axes in enumerate(panels):
        drawn = np.take(volumes.ids, centre[plane], plane).T
        image = np.take(volumes.channels[0], centre[plane], plane).T
        sides = [side for axis, side in enumerate(volumes.spacing) if axis != plane]
        _panel(axes, image, (low, high), sides[1] / sides[0])
        seen |= _outlines(axes, drawn, labels)
        axes.set_title(_PLANES[plane], color="white", fontsize=9, pad=4)
        if plane:
            axes.invert_xaxis()
        for end, place, side in zip(_ENDS[plane], (0.02, 0.98), ("left", "right"), strict=True):
            axes.text(
                place, 0.5, end, color="#FFD54F", fontsize=10, fontweight="bold", ha=side, va="center",
                transform=axes.transAxes, path_effects=[withStroke(linewidth=2.5, foreground="black")],
            )  # fmt: skip
    return _saved(figure), [label for label in labels if label.id in seen]


def _outlines(axes: Axes, drawn: np.ndarray, labels: Sequence[Structure]) -> set[int]:
    """Draw them; the ids of those that are there."""
    seen = set()
    for label in labels:
        inside = drawn == label.id
        if inside.any():
            seen.add(label.id)
            _outline(axes, inside, [part / 255 for part in label.rgb])
    return seen


def _saved(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=_DPI, facecolor="black", pil_kwargs={"optimize": True})
    return buffer.getvalue()


def _panel(axes: Axes, image: np.ndarray, window: tuple[float, float], aspect: float) -> None:
    low, high = window
    axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), origin="lower", aspect=aspect,
                interpolation="nearest")  # fmt: skip
    axes.set(xticks=[], yticks=[], facecolor="black")
    axes.spines[:].set_visible(False)


def _outline(axes: Axes, inside: np.ndarray, colour: Sequence[float]) -> None:
    """Along the border between voxels; at the image's edge too."""
    padded = np.pad(inside.astype(np.float32), 1)
    height, width = inside.shape
    axes.contour(
        np.arange(-1, width + 1), np.arange(-1, height + 1), padded, levels=[0.5], colors=[colour], linewidths=1.3
    )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(-0.5, height - 0.5))


def _slices(image: np.ndarray, centre: Sequence[int]) -> np.ndarray:
    values = np.concatenate([np.take(image, centre[plane], plane).ravel() for plane in range(3)])
    return values[np.isfinite(values)]
