"""What a model that is prompted is asked for: boxes and points, by the names of structures."""

from __future__ import annotations

from pydantic import Field

from uncertaintyseg.wire.base import Message, Voxel
from uncertaintyseg.wire.corrections import BoxCorrection


class PointPrompt(Message):
    """A voxel and what it is."""

    structure: str = Field(description="Its name, or 'background': none of what is asked for in that slice.")
    voxel: Voxel


class PromptRequest(Message):
    """`params.prompts` of an inference of a model that is prompted."""

    boxes: list[BoxCorrection] = Field(
        default_factory=list,
        max_length=100,
        description="A box in one slice is carried on to its neighbours until nothing is found, one over several ends "
        "where it says.",
    )
    points: list[PointPrompt] = Field(default_factory=list, max_length=1000)
