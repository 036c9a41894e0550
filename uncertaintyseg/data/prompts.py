"""What a model like SAM is asked for: boxes and points on a scan, or the label of another model (docs/adr/0022)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from uncertaintyseg.errors import InputError

MARGIN = 0.1
"""Of a box that is carried on, or put around another model's label: share of its side that is added at each end."""
Voxel = tuple[int, int, int]


@dataclass(frozen=True)
class PromptBox:
    """A box at whose sides a structure ends.

    Attributes:
        label: class id of the structure.
        first: its first voxel, IJK on the scan's grid, from 0.
        last: its last voxel.
    """

    label: int
    first: Voxel
    last: Voxel


@dataclass(frozen=True)
class PromptPoint:
    """A voxel and what it is.

    Attributes:
        label: class id; 0: none of the structures that are asked for in its slice.
        voxel: IJK on the scan's grid, from 0.
    """

    label: int
    voxel: Voxel


@dataclass(frozen=True)
class Prompts:
    """All that a model is asked for in one scan.

    Attributes:
        boxes: see `PromptBox`. One that lies in one slice is carried on to its neighbours, one over several ends where
            it says.
        points: see `PromptPoint`.
        label: class ids on the scan's grid `[X, Y, Z]`, which boxes are put around slice by slice; never a reference.
        source: who made that label, for the report.
        plane: in which a volume is sliced; None: that of its thickest slices.
        margin: see `MARGIN`.

    Raises:
        InputError: for an unknown plane, or a margin that is no share.
    """

    boxes: Sequence[PromptBox] = ()
    points: Sequence[PromptPoint] = ()
    label: np.ndarray | None = None
    source: str = ""
    plane: str | None = None
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if self.plane is not None:
            from uncertaintyseg.data.viewed import checked_plane  # noqa: PLC0415 - torch, which no process starts with

            checked_plane(self.plane)
        if not (math.isfinite(self.margin) and 0 <= self.margin <= 1):
            raise InputError(f"the margin {self.margin:g} is no share of a box's side: give a number from 0 to 1.")

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return bool(self.boxes or self.points or self.label is not None)

    def check(self, shape: Sequence[int], labels: Mapping[int, str]) -> None:
        """Raise `InputError` for what lies outside of a scan of `shape`, or asks for a structure that there is not."""
        places = [(one.label, voxel) for one in self.boxes for voxel in (one.first, one.last)]
        places += [(one.label, one.voxel) for one in self.points]
        for label, voxel in places:
            if not all(0 <= at < side for at, side in zip(voxel, shape, strict=True)):
                raise InputError(
                    f"the prompt {_said(voxel)} lies outside of the image, whose voxels are 0,0,0 to "
                    f"{_said([side - 1 for side in shape])}."
                )
            if label and label not in labels:
                raise InputError(f"the prompt {_said(voxel)} asks for class {label}; there are {_named(labels)}.")
        for box in self.boxes:
            if box.label == 0:
                raise InputError("a box asks for a structure: there is none of the background.")
            if any(first > last for first, last in zip(box.first, box.last, strict=True)):
                raise InputError(f"the box {_said(box.first)}; {_said(box.last)} ends before it begins.")
        if self.label is not None and self.label.shape != tuple(shape):
            raise InputError(f"the label of {self.source} has {self.label.shape} voxels, the scan {tuple(shape)}.")

    @property
    def about(self) -> dict[str, Any]:
        """What a report says of them, plain JSON."""
        found: dict[str, Any] = {"margin": self.margin}
        if self.plane:
            found["plane"] = self.plane
        if self.label is not None:
            found["from"] = self.source
        for name, given in (("boxes", self.boxes), ("points", self.points)):
            if given:
                found[name] = [{k: list(v) if isinstance(v, tuple) else v for k, v in asdict(g).items()} for g in given]
        return found


def _said(voxel: Sequence[int]) -> str:
    return ",".join(map(str, voxel))


def _named(labels: Mapping[int, str]) -> str:
    return ", ".join(f"{number} ({name})" for number, name in labels.items())
