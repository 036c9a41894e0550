"""Prompts that another model gives: boxes around what it has found, never around a reference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from monai.data import MetaTensor

from uncertaintyseg.data.label_map import read_mapped_label
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.prompts import Prompts
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.methods import shared_structures
from uncertaintyseg.inference.predictors import load_predictor
from uncertaintyseg.wire import Label


def prompts_of_model(
    other: Bundle, bundle: Bundle, given: Prompts, device: str = "cpu"
) -> Callable[[MetaTensor], Prompts]:
    """What a model is to be asked for in each scan by what another one finds there.

    Args:
        other: finds structures by itself.
        bundle: the model that is prompted.
        given: further prompts, plane and margin.
        device: torch device of the other model.

    Raises:
        InputError: for a model that is prompted itself, or that shares no structure with this one.
    """
    if other.prompted:
        raise InputError(f"{other.name} has to be prompted itself: take prompts from a model that finds by itself.")
    ids = shared_structures(other, bundle)
    if not ids:
        raise InputError(
            f"{other.name} knows {', '.join(label.name for label in other.labels)}, and {bundle.name} is asked for "
            f"{', '.join(label.name for label in bundle.labels)}: import it with --labels of these names."
        )
    predictor = load_predictor(other, device)

    def ask(scan: MetaTensor) -> Prompts:
        found = predictor.predict(scan.meta["filename_or_obj"]).label
        label = np.zeros_like(found)
        for theirs, own in ids.items():
            label[found == theirs] = own
        return replace(given, label=label, source=other.name)

    return ask


def prompts_of_label(path: Path, bundle: Bundle, given: Prompts) -> Callable[[MetaTensor], Prompts]:
    """What a model is to be asked for by a label on the scan's grid that another model made; raises as `read_label`."""
    return lambda scan: replace(given, label=_read(path, scan, bundle.labels), source=path.name)


def _read(path: Path, scan: MetaTensor, labels: Sequence[Label]) -> np.ndarray:
    case = Case(path.stem, Path(scan.meta["filename_or_obj"]), path)
    label = read_mapped_label(case, {item.name: item.id for item in labels}, {}, like=scan)
    return label[0].clamp_min(0).numpy().astype(np.uint8)
