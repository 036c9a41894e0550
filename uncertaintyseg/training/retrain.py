"""Training a model in use on new labels: the result is published only if it validates no worse."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.validation import validate
from uncertaintyseg.training.variant import HEAD_RECIPE
from uncertaintyseg.training.versions import list_versions, publish
from uncertaintyseg.wire import ModelVersion, TrainResult

Progress = Callable[[str, float], None]
Scope = Literal["whole", "head"]

DICE_TOLERANCE = 0.005
"""How much mean Dice may fall where the NLL does not rise: half a point, less than what two fits that differ in their
seed alone differ by, and well below what two raters differ by."""
FINE_TUNING = 0.1
"""Learning rate of a warm start, as a part of the recipe's: the weights are near a minimum already."""
_CANDIDATES = ".candidates"


def retrain(
    bundle: Bundle,
    training: Sequence[Case],
    validation: Sequence[Case],
    models: str | os.PathLike[str],
    *,
    scope: Scope = "whole",
    warm_start: bool = True,
    device: str = "cpu",
    progress: Progress = lambda stage, fraction: None,
    **changes: Any,
) -> TrainResult:
    """Train a bundle further and publish the new weights in `models`, unless they are worse on the validation cases.

    They are worse when the NLL is higher than that of the weights in use, or the mean Dice lower by more than
    `DICE_TOLERANCE`. A call that was killed goes on from its last epoch when made again with the same cases and
    settings.

    Args:
        bundle: the model in use.
        training: labelled cases.
        validation: labelled cases, of which none was ever trained on; they choose the epoch and decide.
        models: folder of models; see `versions.publish`.
        scope: "whole", or "head": the backbone stays as it is. A head that is fitted to a trained network, such as
            laplace or temperature, is fitted again.
        warm_start: begin with the weights in use, as a head always does; else as the bundle's recipe says.
        device: torch device.
        progress: called with a line of text and the fraction done.
        changes: to the recipe, by field.

    Raises:
        InputError: for a set without labelled cases, a case that cannot be used, or a folder that cannot be written.
        BundleError: for a bundle without a recipe, or settings that it cannot take.
    """
    started = time.perf_counter()
    recipe = _recipe(bundle, scope, (warm_start or scope == "head") and bool(bundle.checksum), changes)
    before = validate(bundle, validation, device, _part(progress, 0.0, 0.05)) if bundle.checksum else None
    candidates = Path(models) / _CANDIDATES
    report = fit(
        bundle, training, validation, candidates, recipe=recipe, models=[bundle.folder.parent, Path(models)],
        device=device, progress=_part(progress, 0.05, 0.9),
    )  # fmt: skip
    progress("validating", 0.95)
    after = validate(report.bundle, validation, device)
    record = ModelVersion(
        scope=scope,
        training_cases=len(training),
        validation_cases=len(validation),
        before=before,
        after=after,
        seconds=round(time.perf_counter() - started, 1),
    )
    worse = _worse(before, after)
    if worse is None:
        published = publish(report.bundle, models, record, replaces=bundle)
        record = next(v for v in list_versions(published) if v.checksum == published.checksum)
    shutil.rmtree(report.bundle.folder, ignore_errors=True)
    progress("done", 1.0)
    return TrainResult(
        published=worse is None,
        reason=worse or "validation did not get worse",
        version=record.number if worse is None else None,
        record=record,
    )


def _recipe(bundle: Bundle, scope: Scope, warm_start: bool, changes: dict[str, Any]) -> Recipe:
    given = {name: value for name, value in changes.items() if value is not None}
    recipe = Recipe.load(bundle)
    if scope == "head":
        settings = {**HEAD_RECIPE, "backbone": "frozen"}
        if recipe.optimizer == "sgd":  # whose learning rates are others
            settings["optimizer"] = "adamw"
    elif bundle.base:
        raise InputError(
            f"{bundle.name} adds a head to '{bundle.base.name}', whose network is not its own: train it with the scope "
            "'head'."
        )
    elif bundle.network(weights=False).head.fitted:
        raise InputError(
            f"{bundle.name}: the head '{bundle.head}' is fitted to a trained network. Train the model "
            f"'{recipe.initial}' as a whole, or this one with the scope 'head'."
        )
    else:
        settings = {"backbone": "fine-tuned"}
        if warm_start:
            settings["learning_rate"] = FINE_TUNING * recipe.learning_rate
    return Recipe.load(bundle, warm_start=warm_start, **settings | given)


def _worse(before: dict[str, float] | None, after: dict[str, float]) -> str | None:
    """Why new scores are worse than old ones; None when they are not."""
    if before is None:
        return None
    if not after["nll"] <= before["nll"]:  # also where it is NaN
        return f"the validation NLL rose from {before['nll']:.4f} to {after['nll']:.4f} nats"
    if not after["dice"] >= before["dice"] - DICE_TOLERANCE:
        return f"the validation Dice fell from {before['dice']:.4f} to {after['dice']:.4f}"
    return None


def _part(progress: Progress, start: float, end: float) -> Progress:
    """Progress of a part of the whole."""
    return lambda stage, fraction: progress(stage, start + (end - start) * fraction)
