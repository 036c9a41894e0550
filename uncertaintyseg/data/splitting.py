"""Which cases learn, validate, calibrate and test: committed splits, and one's own."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

from uncertaintyseg.data.cases import Case
from uncertaintyseg.errors import InputError

SPLIT_NAMES = ("train", "validation", "calibration", "test")
_SPLITS = Path(__file__).parent / "splits"


def read_split(name_or_path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read case ids by part: a committed split by name (`msd_hippocampus`, `phantom`), or any such JSON file.

    Returns:
        Keys train, validation, calibration, test.

    Raises:
        InputError: No such split, not JSON, a part is missing, or a case occurs twice.
    """
    path = _SPLITS / f"{name_or_path}.json"
    if not path.is_file():
        path = Path(name_or_path)
    try:
        split = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in _SPLITS.glob("*.json")))
        raise InputError(f"{name_or_path}: no such split; known are {known}, or give a JSON file.") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error}).") from error
    if not (
        isinstance(split, dict)
        and set(split) == set(SPLIT_NAMES)
        and all(isinstance(part, list) and all(isinstance(i, str) for i in part) for part in split.values())
    ):
        raise InputError(f"{path}: a split has exactly the keys {', '.join(SPLIT_NAMES)}, each a list of case ids.")
    ids = [case_id for part in split.values() for case_id in part]
    twice = sorted({case_id for case_id in ids if ids.count(case_id) > 1})
    if twice:
        raise InputError(f"{path}: {', '.join(twice)} occurs more than once; the parts must not share cases.")
    return split


def training_parts(cases: Sequence[Case], split: str | os.PathLike[str] | None) -> tuple[list[Case], list[Case]]:
    """Choose the labelled cases to train and to validate on.

    Args:
        cases: Of a data set.
        split: As for `read_split`; None holds out a random 15 %, the same at every call.

    Raises:
        InputError: The split names a case that is not there or has no label, or fewer than two cases have one.
    """
    labelled = {case.id: case for case in cases if case.label is not None}
    if split is None:
        if len(labelled) < 2:
            raise InputError("training needs at least two labelled cases, one of them to validate on.")
        ids = sorted(labelled)
        random.Random(0).shuffle(ids)
        held_out = max(1, round(0.15 * len(ids)))
        return [labelled[i] for i in sorted(ids[held_out:])], [labelled[i] for i in sorted(ids[:held_out])]
    parts = read_split(split)
    absent = [i for part in ("train", "validation") for i in parts[part] if i not in labelled]
    if absent:
        raise InputError(f"split '{split}' names {len(absent)} cases without a label in DATA, first '{absent[0]}'.")
    return [labelled[i] for i in parts["train"]], [labelled[i] for i in parts["validation"]]
