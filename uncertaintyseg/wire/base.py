"""What the messages share: strictness, and the types of their fields."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

MEASURE = "error_probability"
"""The map that people review by: the model's own 1 - p[label], or what a calibration makes of the map that drives."""
Source = Literal["aleatoric", "epistemic", "total", "readers"]
"""`readers`: none of a model's, but what people differ by."""
Modality = Literal["CT", "MR"]
Index = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Voxel = tuple[Index, Index, Index]
"""IJK."""
Box = tuple[Voxel, Voxel]
"""First and last voxel."""
Corner = Annotated[float, Field(ge=-1, le=2**31, allow_inf_nan=False)]
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
JobKind = Literal["infer", "condition", "samples", "score", "batch", "train", "calibrate"]


class Message(BaseModel):
    """A message with known fields only."""

    model_config = ConfigDict(extra="forbid")
