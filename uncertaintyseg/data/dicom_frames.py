"""Frames of DICOM files, classic slices or enhanced: where each lies and what sets it apart from others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from pydicom import Dataset

from uncertaintyseg.errors import InputError

MARKS = {
    "StackID": "stack",
    "TemporalPositionIndex": "temporal position",
    "TemporalPositionIdentifier": "temporal position",
    "AcquisitionNumber": "acquisition",
    "EffectiveEchoTime": "echo time",
    "EchoTime": "echo time",
    "InversionTime": "inversion time",
    "DiffusionBValue": "b-value",
    "DiffusionGradientOrientation": "gradient",
    "NominalCardiacTriggerDelayTime": "trigger delay",
    "TriggerTime": "trigger time",
    "ComplexImageComponent": "component",
    "FrameType": "type",
    "ImageType": "type",
    "ConvolutionKernel": "kernel",
    "KVP": "kVp",
    "FrameReferenceDateTime": "time",
    "AcquisitionDateTime": "time",
    "AcquisitionTime": "time",
}
"""What may set the frames of one volume apart from those of another in the same series, the likeliest first."""

_LOCALIZER = "LOCALIZER"


@dataclass(frozen=True)
class Frame:
    """One slice of a file."""

    header: Dataset
    """Of the file."""
    number: int
    """In the file, from 0."""
    axes: np.ndarray
    """Unit vectors `[2, 3]` in LPS along a row, which columns count, and along a column."""
    position: np.ndarray
    """Centre of the first pixel, mm LPS."""
    spacing: tuple[float, float]
    """mm between rows, and between columns."""
    rescale: tuple[float, float]
    """Slope and intercept."""
    file_rescale: tuple[float, float]
    """What decoders of the whole file apply to all its frames: the shared ones, else those of the first frame."""
    marks: dict[str, str]
    """Values of `MARKS`."""

    @cached_property
    def normal(self) -> np.ndarray:
        """Unit vector across the slice."""
        return np.cross(*self.axes)

    @cached_property
    def depth(self) -> float:
        """Of the slice along its normal, mm."""
        return float(self.normal @ self.position)

    @property
    def is_localizer(self) -> bool:
        """Whether it was made to plan a scan."""
        return any(_LOCALIZER in self.marks.get(name, "") for name in ("ImageType", "FrameType"))

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows."""
        return int(self.header.Columns), int(self.header.Rows)


def frames_of(header: Dataset) -> list[Frame]:
    """The frames of a file.

    Raises:
        InputError: A frame has no place in space, or the header is damaged. Names no file.
    """
    count = int(header.get("NumberOfFrames") or 1)
    if header.get("SamplesPerPixel", 1) != 1:
        raise InputError(f"{header.SamplesPerPixel} channels; give a scan with one channel")
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if per_frame is None and count > 1:
        raise InputError(f"{count} frames without a position each, so their place in space is not known")
    if per_frame is not None and len(per_frame) != count:
        raise InputError(f"{count} frames, and positions of {len(per_frame)}: the file is damaged")
    try:
        return [_frame(header, number, list(_places(header, number))) for number in range(count)]
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"a damaged DICOM header ({error}): export it again") from error


def _frame(header: Dataset, number: int, places: Sequence[Dataset]) -> Frame:
    said = {name: _value(places, name) for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")}
    if missing := [name for name, value in said.items() if value is None]:
        raise InputError(f"slices without {' and '.join(missing)}, so their place in space is not known")
    position, axes, spacing = (np.array(value, dtype=np.float64) for value in said.values())
    axes = axes.reshape(2, 3)
    size = np.linalg.norm(axes, axis=1, keepdims=True)
    if position.shape != (3,) or not (np.isfinite(position).all() and size.all() and (spacing > 0).all()):
        raise InputError("slices whose position, orientation or spacing is no number")
    marks = {name: _text(value) for name in MARKS if (value := _value(places, name)) is not None}
    between_rows, between_columns = (float(v) for v in spacing)
    of_file = [*_groups(header, "SharedFunctionalGroupsSequence", 0), *_places(header, 0)]
    rescale, file_rescale = _rescale(places), _rescale(of_file)
    return Frame(header, number, axes / size, position, (between_rows, between_columns), rescale, file_rescale, marks)


def _rescale(places: Sequence[Dataset]) -> tuple[float, float]:
    slope, intercept = (_value(places, name) for name in ("RescaleSlope", "RescaleIntercept"))
    return 1.0 if slope is None else float(slope), float(intercept or 0)


def _places(header: Dataset, number: int) -> Iterator[Dataset]:
    """Where to look for what is said of a frame: its own functional groups, the shared ones, the file."""
    yield from _groups(header, "PerFrameFunctionalGroupsSequence", number)
    yield from _groups(header, "SharedFunctionalGroupsSequence", 0)
    yield header


def _groups(header: Dataset, name: str, number: int) -> Iterator[Dataset]:
    items = header.get(name) or []
    if items:
        yield from (element.value[0] for element in items[number] if element.VR == "SQ" and element.value)


def _value(places: Sequence[Dataset], name: str) -> Any:
    return next((value for place in places if (value := place.get(name)) not in (None, "")), None)


def _text(value: Any) -> str:
    if isinstance(value, str | int | float):
        return value if isinstance(value, str) else f"{float(value):g}"
    return "\\".join(map(_text, value))
