"""The predictor of any model with any method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.composite_predictor import CompositePredictor
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.methods import ensemble_members, model_with
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.thresholding import Threshold


def load_predictor(bundle: Bundle, device: str = "cpu", **options: Any) -> Predictor:
    """The predictor of a model, be it of one network or put together from several; arguments as of `Predictor`."""
    return (CompositePredictor if bundle.uncertainty.parts else Predictor)(bundle, device, **options)


def predictor_for(
    bundle: Bundle,
    method: str | None,
    folders: Sequence[Path] = (),
    *,
    options: Mapping[str, Any] | None = None,
    device: str = "cpu",
    crf: CRF | None = None,
    threshold: Threshold | str | None = None,
    halvings: int = 0,
) -> Predictor:
    """Any method on a model: passes around it, or the model of the same task that has the head `method`.

    The members of an "ensemble" are this model and those named in the option `models`; by default every other trained
    model of the task whose backbone was trained by itself.

    Args:
        bundle: the model.
        method: a name of `inference.methods`; None is the model as it is.
        folders: where further models are.
        options: of passes.
        device: torch device.
        crf: as of `Predictor`.
        threshold: as of `Predictor`.
        halvings: as of `Predictor`.

    Raises:
        InputError: for an unknown method or option.
        BundleError: when there is no model with that head, or no second member of an ensemble.
    """
    given = dict(options or {})
    bundle, passes = model_with(bundle, method, *folders)
    if given and passes is None:
        raise InputError(f"{bundle.name}: '{next(iter(given))}' would be fixed when its head is trained, not here.")
    others = []
    if passes == "ensemble":
        others = ensemble_members(bundle, given.pop("models", None), *folders)
    return load_predictor(
        bundle, device, method=passes, options=given, others=others, crf=crf, threshold=threshold, halvings=halvings
    )
