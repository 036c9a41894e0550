"""What a person says of a result: clicks, scribbles, boxes and lassos, a label, and what to draw."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from uncertaintyseg.wire.base import Corner, Message, Voxel


class Corrections(BaseModel):
    """Voxels and what they are: IJK on the grid of the stored scan, by MONAI Label's names or by structure."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, list[Voxel]]

    foreground: list[Voxel] = Field(
        default_factory=list, description="Voxels of `label`; a key with a structure's name says the same."
    )
    background: list[Voxel] = Field(default_factory=list, description="Voxels of no structure.")


class BoxCorrection(Message):
    """A structure ends at a box: first and last voxel, IJK; one voxel thick, it speaks of its slice alone."""

    structure: str
    first: Voxel
    last: Voxel


class LassoCorrection(Message):
    """All voxels inside a closed curve on a slice are of a structure."""

    structure: str = Field(description="Its name, or 'background'.")
    corners: list[tuple[Corner, Corner, Corner]] = Field(
        min_length=3, max_length=500, description="IJK on one plane; whole numbers are the middles of voxels."
    )


class ConditionRequest(Corrections):
    """Body of POST /uncertainty/v1/results/{key}/condition: all corrections that hold, each time."""

    label: str | None = Field(None, description="What `foreground` is; needed where the model has several structures.")
    scribbles: Corrections = Field(default_factory=Corrections, description="Strokes: all their voxels.")
    boxes: list[BoxCorrection] = Field(default_factory=list, max_length=100)
    lassos: list[LassoCorrection] = Field(
        default_factory=list,
        max_length=50,
        description="Of two on a voxel the later one counts, and of a click or a scribble that.",
    )
    reach_mm: float | None = Field(None, gt=0, le=1000, description="How far a click is heard; null for the usual.")


class ReviewRequest(Message):
    """`params` of POST /uncertainty/v1/results/{key}/review, beside the label."""

    trusted: Literal["edits", "none"] = Field(
        "edits",
        description="'edits': where it differs from the model's label a person said so, and that is right; 'none': "
        "the label is somebody else's, and where it differs it may be wrong.",
    )
    accepted: list[tuple[Voxel, Voxel]] = Field(
        default_factory=list, description="Boxes in which a person found it right: first and last voxel, IJK."
    )


class SamplesRequest(Message):
    """Body of POST /uncertainty/v1/results/{key}/samples."""

    count: int = Field(8, ge=1, le=32)
    seed: int = Field(0, ge=0, lt=2**63)
