"""The risk of a label that came with a request, by a stored result; kept in the store like any other result."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from monailabel_app.jobs.results import Report, ResultStore
from uncertaintyseg import NUMBERS, wire
from uncertaintyseg.data.label_grid import Grid
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.reviewing import reviewed

BOXES = 1000
"""Accepted boxes that one request may hold."""
_one_at_a_time = threading.Lock()
"""A review takes a few times the memory of its scan."""


def reviewed_result(params: Mapping[str, Any], key: str) -> str:
    """Key of the model's result behind a result with these parameters: itself, or what it is a review of."""
    return params.get("review_of", key)


def asked_for(store: ResultStore, key: str) -> tuple[Grid, dict[str, int]]:
    """What a label must be to be reviewed by a result: its grid, and the class ids by name that may occur.

    Raises:
        NotFoundError: The result is gone.
    """
    report = store.existing(key)
    base = reviewed_result(report.risk.provenance.params, key)
    return Grid(store.shape(base), np.array(report.affine), "reviewed"), {item.name: item.id for item in report.labels}


def review(store: ResultStore, key: str, label: np.ndarray, asked: wire.ReviewRequest) -> Report:
    """Review a label by a result, or by what that is a review of; nothing waits for a network.

    Args:
        store: of the results; the review joins them.
        key: of the result.
        label: uint8 `[X, Y, Z]` as `asked_for` says.
        asked: what a person has decided.

    Raises:
        NotFoundError: The result is gone.
        InputError: An accepted box is not in the scan.
    """
    if len(asked.accepted) > BOXES:
        raise InputError(f"accepted: {len(asked.accepted)} boxes; a request holds {BOXES} at most")
    report = store.existing(key)
    base = reviewed_result(report.risk.provenance.params, key)
    with _one_at_a_time:
        prediction, labels = store.prediction(base)
        params = {"review_of": base, "trusted": asked.trusted, "accepted": sorted(set(asked.accepted))}
        new = _key(label, params)
        if (known := store.report(new)) is not None:
            return known
        edited = asked.trusted == "edits"
        found = reviewed(prediction, labels, label, edited=edited, accepted=params["accepted"])
        made_by = found.provenance
        params = {"base": base} | made_by.params | params
        found = replace(found, provenance=made_by.model_copy(update={"params": params}))
        store.put(new, found, labels, compact=True)
    store.evict(keep=new)
    return store.existing(new)


def _key(label: np.ndarray, params: Mapping[str, Any]) -> str:
    parts = {"label": hashlib.sha256(label.tobytes()).hexdigest(), "numbers": NUMBERS, **params}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
