"""What the messages share: strictness, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MEASURE = "error_probability"
"""The map that people review by: the model's own 1 - p[label], or what a calibration makes of the map that drives."""
Source = Literal["aleatoric", "epistemic", "total", "readers"]
"""`readers`: none of a model's, but what people differ by."""
Modality = Literal["CT", "MR", "US"]
Index = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Voxel = tuple[Index, Index, Index]
"""IJK."""
Box = tuple[Voxel, Voxel]
"""First and last voxel."""
Corner = Annotated[float, Field(ge=-1, le=2**31, allow_inf_nan=False)]
SizeUnit = Literal["mL", "mm2", "px"]
Axis = Literal["time"]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
JobKind = Literal["infer", "condition", "samples", "score", "batch", "train", "calibrate"]


class Message(BaseModel):
    """A message with known fields only."""

    model_config = ConfigDict(extra="forbid")


class Sized(Message):
    """What sizes are counted in, also those of fields that end in `ml`: volumes, or areas of images and clips."""

    size_unit: SizeUnit = Field(
        "mL",
        description="'mL' of volumes; 'mm2' of images and clips; 'px', pixels, where their spacing is unknown. Of a "
        "clip they are the mean area of a frame, those of regions the area in their frame.",
    )
    axis: Axis | None = Field(None, description="'time': of a clip, what its third axis is; null where it is space.")
