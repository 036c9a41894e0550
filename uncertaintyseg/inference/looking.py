"""What a look at a scan is asked for, and what it ends with."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from uncertaintyseg.inference.spread import Spread
from uncertaintyseg.inference.stream import Gathered, Scratch
from uncertaintyseg.measures import MEASURES
from uncertaintyseg.wire import Label


class Asked(NamedTuple):
    """Arguments of `Predictor.predict`, checked.

    Attributes:
        labels: structures that get maps of their own.
        named: whether somebody named these.
        carried: whether their variances are carried.
        box: of the scan; None: all of it.
        scratch: folder for maps of large scans.
        samples: whole segmentations to draw.
        seed: of the draws.
    """

    labels: Sequence[Label]
    named: bool
    carried: bool
    box: tuple[slice, ...] | None
    scratch: str | os.PathLike[str] | None
    samples: int
    seed: int


class Look(NamedTuple):
    """What was found.

    Attributes:
        found: label and maps on the scan's grid.
        spread: whole shapes.
        store: where the maps lie.
        features: what the case looks like to the network, `[F]`.
        alone: whether only one answer was heard, so that nothing could disagree.
        merged: whether the label is a merge of several, which need not be the likeliest class.
        notes: by name of a map, what is not known in it.
        prompts: what was asked for, of a model that is prompted.
    """

    found: Gathered
    spread: Spread
    store: Scratch
    features: np.ndarray
    alone: bool
    merged: bool = False
    notes: Mapping[str, str] = {}
    prompts: Mapping[str, Any] | None = None


def named_maps(found: Gathered, labels: Sequence[Label]) -> dict[str, Any]:
    """All maps in their order, those of structures under their names."""
    maps: dict[str, Any] = {name: found.maps[name] for name in MEASURES}
    for item in labels:
        for measure in ("probability", "variance"):
            if f"{measure}_{item.id}" in found.boxes:
                maps[f"{measure}_{item.name}"] = found.boxes[f"{measure}_{item.id}"]
    return maps | {name: value for name, value in found.maps.items() if name not in maps}
