"""What a threshold is of, and what it says of a prediction: where it lies, and how much is above it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from uncertaintyseg.data.time_axis import Measure
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.stream import Gathered, Scratch
from uncertaintyseg.inference.thresholding import FOREGROUND, Threshold
from uncertaintyseg.measures import MEASURES, map_info
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.wire import Cut, MapInfo

ABOVE = "above_threshold"
"""Map of a threshold on an uncertainty map: 1 above it, 0 elsewhere."""


class CutOf(NamedTuple):
    """What a threshold is of.

    Attributes:
        structure: class id whose probability cuts the label, 0 for all structures together; None where the label stays.
        map: name of the uncertainty map that is cut instead.
    """

    structure: int | None = None
    map: str | None = None


def cuttable(bundle: Bundle, method: str | None = None) -> list[str]:
    """Names of what a threshold of a run may be of: the foreground, structures, and uncertainty maps."""
    names = [label.name for label in bundle.labels]
    own = PASSES[method].extra_maps(len(names) + 1) if method else bundle.maps
    maps = [name for name in own if not name.startswith(("probability_", "variance_"))]
    return list(dict.fromkeys([FOREGROUND, *names, *MEASURES, *maps]))


def cut_of(bundle: Bundle, method: str | None, threshold: Threshold) -> CutOf:
    """What a threshold is of in a run of a model.

    Raises:
        InputError: for what this run does not have, or a fixed threshold that nothing there can exceed.
    """
    if threshold.of not in (names := cuttable(bundle, method)):
        raise InputError(f"the threshold is of '{threshold.of}', which this run has not; it has {', '.join(names)}.")
    ids = {FOREGROUND: 0} | {label.name: label.id for label in bundle.labels}
    found = CutOf(structure=ids[threshold.of]) if threshold.of in ids else CutOf(map=threshold.of)
    top = 1.0 if found.map is None else top_of(found.map, len(bundle.labels) + 1, {}).range[1]
    if threshold.method == "fixed" and threshold.setting > top and found.map in (None, *MEASURES):
        raise InputError(
            f"the threshold '{threshold}' takes a value from 0 to {top:.4g}; {threshold.setting:g} is none."
        )
    return found


def top_of(name: str, classes: int, own: Mapping[str, MapInfo]) -> MapInfo:
    """How to read a map of a run: of its own, or of every run."""
    info = own.get(name) or map_info(name, classes, "total")
    return info.model_copy(update={"range": (0.0, 1.0)}) if name == MEASURE else info  # calibrated it may reach 1


def apply(
    threshold: Threshold | None,
    of: CutOf,
    found: Gathered,
    maps: dict[str, np.ndarray],
    own: Mapping[str, MapInfo],
    classes: int,
    store: Scratch,
    sizes: Measure,
) -> Cut | None:
    """Say where a threshold lies; one of an uncertainty map is found here, and what is above it is one more map.

    Args:
        threshold: that was asked for; None: none.
        of: what it is of.
        found: with the threshold that its label was cut by.
        maps: by name, of which `above_threshold` becomes one.
        own: maps of the run's own.
        classes: background included.
        store: for that map.
        sizes: what they are counted in.
    """
    if threshold is None:
        return None
    cut, unit = found.cut, "1"
    if of.map:
        values, valid, info = maps[of.map], maps.get("valid"), top_of(of.map, classes, own)
        cut, unit = threshold.find(values if valid is None else values[valid > 0], info.range[1]), info.unit
        above = maps[ABOVE] = store.zeros(ABOVE, values.shape, np.float32)
        for plane in range(len(values)):
            above[plane] = (
                values[plane] > cut.value if valid is None else (values[plane] > cut.value) & (valid[plane] > 0)
            )
    inside = maps[ABOVE] if of.map else (plane == of.structure if of.structure else plane for plane in found.label)
    return Cut(
        of=threshold.of,
        method=threshold.method,
        setting=threshold.setting,
        value=cut.value,
        fallback=cut.fallback,
        unit=unit,
        above_ml=round(sum(map(np.count_nonzero, inside)) * sizes.voxel, 4),
        size_unit=sizes.unit,
    )
