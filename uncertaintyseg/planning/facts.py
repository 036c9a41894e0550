"""What is known of one case of a data set, and what is wrong with it. Axes run right, forward and up (RAS+)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

Severity = Literal["error", "warning"]
Axes = Literal["volume", "image", "clip"]


@dataclass(frozen=True)
class Problem:
    """Something that is wrong with the data."""

    case_id: str | None
    """None: with the data set, or with several cases that `text` names."""
    kind: str
    """In a word: "unreadable", "grid", "values", "duplicate", "orientation", "intensity", ..."""
    text: str
    """What, and the way out."""
    severity: Severity
    """An error ends a plan, unless its case is left out; a warning is told."""


@dataclass(frozen=True, eq=False)
class Intensities:
    """One channel of a case: intensities in its unit, over the voxels of all structures unless said otherwise.

    Of a case whose label holds no structure those are NaN, and `sample` is empty.
    """

    mean: float
    std: float
    minimum: float
    maximum: float
    sample: np.ndarray
    """float32 `[n]`, ascending: values at evenly spaced ranks, n the same for all cases that hold a structure."""
    image_mean: float
    """Of all voxels, as the next three."""
    image_std: float
    image_minimum: float
    image_maximum: float
    contrast: dict[int, float] = field(default_factory=dict)
    """By id of the structure: its mean, in standard deviations of the whole image from the image's mean."""


@dataclass(frozen=True, eq=False)
class CaseFacts:
    """What was measured of one case."""

    id: str
    shape: tuple[int, int, int]
    """Voxels along R, A, S, as the next two."""
    spacing: tuple[float, float, float]
    """In mm."""
    cropped_shape: tuple[int, int, int]
    """Of the smallest box around the voxels that are not 0 in every channel, to which nnU-Net crops."""
    orientation: str
    """Which way the axes of the file run, such as "LPS": towards left, posterior and superior."""
    channels: list[Intensities]
    voxels: dict[int, int]
    """By id, of the structures that the case holds."""
    ignored: float
    """Share of the voxels that the label says nothing of."""
    unknown: dict[int, int]
    """How many voxels have which value that the data set gives no meaning."""
    nonfinite: int
    """How many voxels of all channels are NaN or infinite; they count for nothing here."""
    image_hash: str
    """Of the voxels, whichever way they are stored."""
    label_hash: str | None
    """None: the label holds no structure."""
    axes: Axes = "volume"
    """Of an image or a clip they are columns, rows and frames, whose spacing is 1."""
    spacing_known: bool = True
    """False: the spacing counts pixels."""

    @property
    def volumes(self) -> dict[int, float]:
        """By id, of the structures that the case holds, in mm3; of an image in mm2 or pixels, of a clip a frame."""
        voxel = float(np.prod(self.spacing)) / (self.shape[2] if self.axes == "clip" else 1)
        return {number: count * voxel for number, count in self.voxels.items()}
