"""Which cases a command takes when nobody names them: those that the split of a data set keeps for it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case

SPLIT = "split.json"
"""In a model's folder: the split that was drawn for its training, which may lie beside no data."""
LEARNT = "learnt.json"
"""In a model's folder: ids of the cases that it has learnt from and was validated on."""
ALL = "all"
"""What --cases says for every case."""


def keep_parts(bundle: Bundle, parts: Mapping[str, Sequence[str]]) -> None:
    """Write into a model's folder which cases it has learnt from."""
    from uncertaintyseg.data.writing import write_bytes

    write_bytes(bundle.folder / SPLIT, json.dumps(parts, indent=1).encode())


def forget_parts(bundle: Bundle) -> None:
    """Remove what `keep_parts` wrote at an earlier training."""
    (bundle.folder / SPLIT).unlink(missing_ok=True)


def keep_learnt(bundle: Bundle, cases: Iterable[Case]) -> None:
    """Write into a model's folder which cases it has learnt from and was validated on, by whatever split."""
    from uncertaintyseg.data.writing import write_bytes

    write_bytes(bundle.folder / LEARNT, json.dumps(sorted(case.id for case in cases), indent=1).encode())


def learnt_cases(bundle: Bundle) -> set[str]:
    """The cases that a model, or the one it is built on, has learnt from, as far as its training wrote them down."""
    from uncertaintyseg.data.splitting import read_split

    learnt: set[str] = set()
    for folder in {part.folder for part in (bundle, bundle.base, *bundle.parts) if part is not None}:
        if (folder / SPLIT).is_file():
            parts = read_split(folder / SPLIT)
            learnt |= {*parts["train"], *parts["validation"]}
        if (folder / LEARNT).is_file():
            learnt |= set(json.loads((folder / LEARNT).read_text(encoding="utf-8")))
    return learnt


def shipped_scans_of(bundle: Bundle) -> dict[str, str]:
    """Scans that a shipped model has learnt from: case id by content. So has a head that was put on one of its task.

    None of a network that was trained here as a whole.
    """
    from uncertaintyseg.data.splitting import shipped_scans
    from uncertaintyseg.inference.bundle import TRAINING

    trained_here = any((bundle.folder / name).is_file() for name in (SPLIT, LEARNT))
    path = bundle.folder / TRAINING
    recipe = json.loads(path.read_text(encoding="utf-8")).get("recipe", {}) if path.is_file() else {}
    return {} if trained_here and recipe.get("stage") == "backbone" else shipped_scans(bundle.task)


def unseen_cases(bundle: Bundle, data: Path, cases: Sequence[Case], part: str, told: list[str]) -> list[Case]:
    """The cases of a part of the split that is kept beside the data or with the model; without one all cases.

    Args:
        bundle: the model.
        data: folder of the cases.
        cases: all of them.
        part: "calibration" or "test".
        told: gets a sentence on what was chosen.

    Raises:
        InputError: The split has no such case, or is none.
    """
    parts = _split_for(bundle, data, cases)
    if parts is None:
        return list(cases)
    chosen = [case for case in cases if case.id in parts[part]]
    if not chosen:
        raise InputError(
            f"{data}: its split has no {part} cases (that takes seven subjects), and the others have helped to train. "
            f"Name cases with --cases, as a file of ids, or --cases {ALL} to take them all the same."
        )
    if part == "calibration":
        _check_calibrates(data, sum(case.label is not None for case in chosen))
    told.append(f"{len(chosen)} {part} cases of the split of {data}; for others say --cases.")
    return chosen


def _check_calibrates(data: Path, count: int) -> None:
    """Refuse a part of a split that is too small before a model is loaded, where the way out can be said."""
    from uncertaintyseg.review.calibration import FEWEST

    if count < FEWEST:
        raise InputError(
            f"{data}: a calibration needs {FEWEST} labelled cases at least, not {count}, as many as its split keeps "
            "for it. Name others that the model has not learnt from with --cases, as a file of ids; or train again "
            f"with --split, a file whose calibration part has {FEWEST}. --cases {ALL} takes them all, but on those "
            "that it has learnt from a model errs less, so the promises are too good."
        )


def _split_for(bundle: Bundle, data: Path, cases: Sequence[Case]) -> Mapping[str, Sequence[str]] | None:
    from uncertaintyseg.data.splitting import kept_split, read_split

    if kept := kept_split(data):
        return kept
    path = bundle.folder / SPLIT
    if not path.is_file():
        return None
    parts = read_split(path)
    learnt = {*parts["train"], *parts["validation"]}
    return parts if any(case.id in learnt for case in cases) else None
