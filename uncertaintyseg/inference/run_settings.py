"""Settings of the CRF and of thresholds, under the names and in the ranges that /info lists and `params` take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from uncertaintyseg.data.prompts import MARGIN
from uncertaintyseg.data.slices import PLANES
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.passes.ranges import check_ranges, ranges
from uncertaintyseg.inference.thresholding import FOREGROUND, MOST, THRESHOLDS, Threshold
from uncertaintyseg.wire import RunOption

_CRF = "crf_"
_CRF_WORDS = {
    "weight": "Of neighbours that look alike, nats; the paper's code has 10.",
    "sigma_mm": "How far neighbours reach, mm.",
    "sigma_intensity": "How different they may look, in standard deviations of the image.",
    "smoothness": "Weight of the same kernel without the image, nats.",
    "radius_mm": "Window: neighbours further off are left out, mm; 0 is twice sigma_mm.",
    "reach": "Window: so are those more than so many voxels away along an axis.",
    "iterations": "Of the mean field.",
}
_LARGEST = 6.0
"""Above the entropy of 255 structures, nats: a fixed threshold may be of such a map."""
_OF_METHOD = {"percentile": "threshold_percentile", "mean_std": "threshold_deviations", "fixed": "threshold_fixed"}


def crf_settings() -> list[RunOption]:
    """Everything that a CRF can be told, each counting only with `crf`."""
    limits, found = ranges(CRF), []
    for field in fields(CRF):
        limit, whole = limits[field.name]
        found.append(
            RunOption(
                name=f"{_CRF}{field.name}", kind="integer" if whole else "number", default=field.default or 0,
                low=limit.low, high=limit.high, text=_CRF_WORDS[field.name], needs="crf",
            )
        )  # fmt: skip
    return found


def threshold_settings() -> list[RunOption]:
    """The numbers of thresholds, each counting only with its method."""
    about = (
        ("percentile", 95.0, 0.0, 100.0, "Percentile of the voxels' values."),
        ("mean_std", 1.0, -MOST, MOST, "Standard deviations above the mean of the voxels' values."),
        ("fixed", 0.5, 0.0, _LARGEST, "The threshold itself; a probability is 1 at most."),
    )
    return [
        RunOption(
            name=_OF_METHOD[method], kind="number", default=default, low=low, high=high, text=text,
            needs=f"threshold={method}",
        )
        for method, default, low, high, text in about
    ]  # fmt: skip


def prompt_settings(structures: Sequence[str], models: Sequence[str]) -> list[RunOption]:
    """What a model that is prompted can be told, of which structure; `models` can give it prompts."""
    text = "Model around whose label boxes are put, slice by slice, where you give none."
    around = RunOption(name="prompt_from", kind="choice", default=None, choices=list(models), text=text)
    return [
        RunOption(name="prompt_region", kind="choice", default=None, choices=list(structures),
                  text="The region of interest is a box around this structure, in place of where to look."),
        *([around] if models else ()),
        RunOption(name="prompt_plane", kind="choice", default=None, choices=list(PLANES),
                  text="Plane of the slices that are asked about; by default that of the thickest slices."),
        RunOption(name="prompt_margin", kind="number", default=MARGIN, low=0, high=1,
                  text="Share of its side that a box gets wider at each end, where it is not yours."),
    ]  # fmt: skip


def crf_of(on: bool, given: Mapping[str, Any]) -> CRF | None:
    """The CRF that settings ask for, by the names of `crf_settings` without their `crf_`; None where it is off.

    Raises:
        InputError: for a name that there is not, or a value out of its range, which is named.
    """
    if not on:
        return None
    names = [field.name for field in fields(CRF)]
    unknown = [name for name in given if name not in names]
    if unknown:
        raise InputError(f"the CRF has no setting '{unknown[0]}'; it has {', '.join(names)}.")
    check_ranges(CRF, given)
    return CRF(**{name: None if name == "radius_mm" and not value else value for name, value in given.items()})


def asked_crf(params: Mapping[str, Any]) -> CRF | None:
    """The CRF that `params` of a run ask for, by the names of `crf_settings`; what they lack is as ever."""
    given = {name.removeprefix(_CRF): value for name, value in params.items() if name.startswith(_CRF)}
    return crf_of(bool(params.get("crf")), given)


def asked_threshold(params: Mapping[str, Any]) -> Threshold | None:
    """The threshold that `params` of a run ask for; a value or a map within `threshold` itself goes before.

    Raises:
        InputError: for a threshold that does not exist or takes no such value.
    """
    text = params.get("threshold")
    if not text:
        return None
    if text not in THRESHOLDS:
        said = Threshold.read(text)
        return said if ":" in text else Threshold(said.method, said.value, params.get("threshold_of") or FOREGROUND)
    value = params.get(_OF_METHOD.get(text, ""))
    return Threshold(text, value, params.get("threshold_of") or FOREGROUND)
