"""Slices that a server has shown a model in place of training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from UncertaintySegLib.server.parsing import parse_all, tolerant


@dataclass(frozen=True)
class Example:
    """One slice: it lies across an axis (0, 1, 2) of its scan's file, at a voxel on it; `plane` is empty of images."""

    case: str
    axis: int
    index: int
    plane: str = ""
    same_patient: bool = False


@tolerant
def parse_examples(provenance: Mapping[str, Any]) -> tuple[Example, ...]:
    """Make the examples in the provenance of a result; none where its model has learnt what it knows."""
    return parse_all(Example, provenance.get("examples"))


@tolerant
def left_out(provenance: Mapping[str, Any]) -> tuple[str, ...]:
    """Make the ids of labelled cases that could not be shown beside the examples."""
    return tuple(str(case) for case in provenance.get("left_out") or ())
