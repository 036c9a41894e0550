"""Cases that a plan has left out, because they cannot be used: its train.json names them, also for heads put on it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from uncertaintyseg.data.layouts import Case
from uncertaintyseg.inference.bundle import TRAINING, Bundle

LEFT_OUT = "left_out"
"""In train.json: their ids."""


def without_left_out(bundle: Bundle, cases: Sequence[Case]) -> tuple[list[Case], list[str]]:
    """The cases that a model may be trained on, and the ids of the others."""
    path = bundle.folder / TRAINING
    named = json.loads(path.read_text(encoding="utf-8")).get(LEFT_OUT, []) if path.is_file() else []
    return [case for case in cases if case.id not in named], [case.id for case in cases if case.id in named]
