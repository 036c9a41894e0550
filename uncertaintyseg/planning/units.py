"""Cases whose intensities are in another unit than the rest, and cases whose channels stand in another order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment

from uncertaintyseg.planning.facts import CaseFacts, Intensities, Problem

if TYPE_CHECKING:
    from uncertaintyseg.data.dataset import DataSet

_ENOUGH = 4  # cases, of which the middle says what is usual
_SCALE = 5.0  # times wider or narrower than usual
_AWAY = 5.0  # usual widths beside the usual place
_AIR = -200.0  # HU; where nothing is lower a CT shows no air, or does not count in HU
_INTERCEPT = 1024.0  # of most scanners, from stored values to HU
_NEAR = 400.0
_WORSE = 2.0  # times, than with the channels in another order, and than is usual


def other_units(dataset: DataSet, cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    """Cases of which a channel's intensities lie elsewhere than those of the others, over the structures.

    Width is the range of the middle nine tenths, place the median; usual is the median over the cases.

    Args:
        dataset: they are of.
        cases: those that were measured.
    """
    for number, name in enumerate(dataset.channels):
        held = {case.id: case.channels[number] for case in cases if case.channels[number].sample.size}
        if len(held) < _ENOUGH:
            continue
        which = f"channel {name}: " if len(dataset.channels) > 1 else ""
        places = {case_id: _quantile(channel, 0.5) for case_id, channel in held.items()}
        widths = {case_id: _quantile(channel, 0.95) - _quantile(channel, 0.05) for case_id, channel in held.items()}
        place, width = float(np.median(list(places.values()))), float(np.median(list(widths.values())))
        if dataset.modality == "CT" and _all_stored(held.values(), place):
            yield Problem(None, "intensity", f"{which}{_STORED_ALL}", "warning")
        for case_id, channel in held.items():
            said = f"{which}median {places[case_id]:.4g} in the structures, where {place:.4g} is usual"
            stored = abs(places[case_id] - place - _INTERCEPT) < _NEAR and channel.image_minimum > _AIR
            if dataset.modality == "CT" and stored:
                yield Problem(
                    case_id, "intensity", f"{said}, and air at {channel.image_minimum:.4g}. {_STORED}", "error"
                )
            elif width > 0 and _is_other(widths[case_id] / width, (places[case_id] - place) / width):
                way = _CT if dataset.modality == "CT" else _HARMLESS
                yield Problem(case_id, "intensity", f"{said}: another unit than the rest. {way}", "warning")


_STORED = (
    "These look like stored values and not Hounsfield units: apply the scan's RescaleIntercept, mostly -1024, or "
    "convert it from DICOM again."
)
_STORED_ALL = (
    "no case holds values below -200, and the structures lie about 1024 above soft tissue: these look like stored "
    "values and not Hounsfield units. The plan goes by what is there; a CT in Hounsfield units will not fit it later."
)
_CT = "CT is clipped and scaled alike in all cases, so this one will look wrong: convert it again, or leave it out."
_HARMLESS = "Each scan is scaled by its own mean and standard deviation, which makes that harmless."


def _all_stored(channels: Sequence[Intensities], place: float) -> bool:
    return all(channel.image_minimum > _AIR for channel in channels) and abs(place - _INTERCEPT) < _NEAR


def _is_other(scale: float, off: float) -> bool:
    return not 1 / _SCALE <= scale <= _SCALE or abs(off) > _AWAY


def _quantile(channel: Intensities, share: float) -> float:
    return float(channel.sample[int(share * (channel.sample.size - 1))])


def swapped_channels(dataset: DataSet, cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    """Cases that would be like the others if their channels stood in another order.

    Channels are compared by the contrast of each structure with the image, in the image's standard deviations, and by
    where its extremes lie: by nothing that a unit changes.

    Args:
        dataset: they are of.
        cases: those that were measured.
    """
    names = dataset.channels
    if len(names) < 2 or len(cases) < _ENOUGH:
        return
    looks = np.array([[_look(channel, [row.id for row in dataset.labels]) for channel in c.channels] for c in cases])
    usual = _nanmedian(looks)
    costs = [_costs(look, usual) for look in looks]
    typical = float(np.median([np.trace(cost) for cost in costs]))
    for case, cost in zip(cases, costs, strict=True):
        rows, order = linear_sum_assignment(cost)
        better = cost[rows, order].sum()
        if np.trace(cost) > _WORSE * max(better, typical):
            listed = ", ".join(names[at] for at in order)
            text = f"its channels look like {listed} where they should be {', '.join(names)}: were they swapped?"
            yield Problem(case.id, "channels", text, "warning")


def _look(channel: Intensities, ids: Sequence[int]) -> list[float]:
    scale = channel.image_std or 1.0
    extremes = ((value - channel.image_mean) / scale for value in (channel.image_minimum, channel.image_maximum))
    return [*(channel.contrast.get(number, np.nan) for number in ids), *(np.arcsinh(value) for value in extremes)]


def _nanmedian(looks: np.ndarray) -> np.ndarray:
    """`[C, F]` of `[N, C, F]`; NaN where no case has a value."""
    known = ~np.isnan(looks).all(axis=0)
    usual = np.full(looks.shape[1:], np.nan)
    usual[known] = np.nanmedian(looks[:, known], axis=0)
    return usual


def _costs(look: np.ndarray, usual: np.ndarray) -> np.ndarray:
    """How far each channel of a case, `[C, F]`, is from what is usual of each: `[C, C]`."""
    off = np.abs(look[:, None] - usual[None])
    known = ~np.isnan(off)
    return np.where(known, off, 0).sum(-1) / np.maximum(known.sum(-1), 1)
