"""Which cases learn, validate, calibrate and test: committed splits, and one's own."""

from __future__ import annotations

import json
import os
import random
import re
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from uncertaintyseg.data.cases import Case
from uncertaintyseg.errors import InputError

SPLIT_NAMES = ("train", "validation", "calibration", "test")
SHARES = {"validation": 0.15, "calibration": 0.15, "test": 0.15}
"""Of the subjects; the others train."""
KEPT = "uncertaintyseg_split.json"
"""What a split that we drew is called, beside the data."""
Parts = dict[str, list[str]]
"""Case ids by `SPLIT_NAMES`."""

_TIMES = "frame|fr|phase|time|timepoint|tp|t|visit|v|session|ses|scan|day|week|month|year|baseline|followup|run"
_PART_OF = re.compile(rf"(.*\d.*)[_-](?:(?:{_TIMES})[_-]?\d+|baseline|followup|left|right)", re.IGNORECASE)
"""A scan among several of a subject; what is before it must have a number, else all cases would be one subject."""
_SUBJECTS = (re.compile(r"(sub-[A-Za-z0-9]+)_.+"), re.compile(r"(BraTS-[A-Za-z]+-\d{5})-\d{3}"))
"""Of BIDS, and of BraTS since 2023."""
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


def shipped_scans(task: str) -> dict[str, str]:
    """The scans that the shipped models of a task have learnt from and were validated on: case id by `content_of`."""
    found: dict[str, str] = {}
    for path in sorted((_SPLITS / "scans").glob("*.json")):
        said = json.loads(path.read_text(encoding="utf-8"))
        if said["task"] == task:
            found |= {content: case_id for case_id, content in said["scans"].items()}
    return found


def subject_of(case_id: str) -> str:
    """The subject that a case is of, where its id says so: patient001 of patient001_frame12, sub-01 of sub-01_ses-02.

    An id of no known pattern is a subject of its own.
    """
    for pattern in _SUBJECTS:
        if match := pattern.fullmatch(case_id):
            return match[1]
    match = _PART_OF.fullmatch(case_id)
    return subject_of(match[1]) if match else case_id


def make_split(case_ids: Iterable[str]) -> Parts:
    """Split cases at random, by subject: 15 % each to validate, calibrate and test, the others to train.

    It is the same at every call, in whatever order the ids come. At least one subject validates; fewer than seven leave
    none to calibrate or test on. Cases of a single subject are split one by one.

    Raises:
        InputError: There are fewer than two cases.
    """
    ids = sorted(case_ids)
    if len(ids) < 2:
        raise InputError("training needs at least two labelled cases, one of them to validate on.")
    grouped = _by_subject(ids)
    subjects = sorted(grouped)
    random.Random(0).shuffle(subjects)
    counts = {part: int(share * len(subjects)) for part, share in SHARES.items()}
    counts["validation"] = max(1, round(SHARES["validation"] * len(subjects)))
    parts: Parts = {part: [] for part in SPLIT_NAMES}
    for part, count in counts.items():
        taken, subjects = subjects[:count], subjects[count:]
        parts[part] = sorted(case_id for subject in taken for case_id in grouped[subject])
    parts["train"] = sorted(case_id for subject in subjects for case_id in grouped[subject])
    return parts


def grown_split(parts: Mapping[str, Sequence[str]], case_ids: Iterable[str]) -> Parts:
    """A split with further cases, in which those that it had stay where they are.

    A further case of a known subject joins it; a new subject goes where most is lacking.
    """
    grown = {part: list(parts[part]) for part in SPLIT_NAMES}
    place_of: dict[str, str] = {}
    for part, ids in grown.items():
        for case_id in ids:
            place_of.setdefault(subject_of(case_id), part)
    known = {case_id for ids in grown.values() for case_id in ids}
    new: dict[str, list[str]] = {}
    for case_id in sorted(set(case_ids) - known):
        new.setdefault(subject_of(case_id), []).append(case_id)
    shares = {"train": 1 - sum(SHARES.values())} | SHARES
    for subject, ids in new.items():
        held = list(place_of.values())
        total = len(held) + 1
        lacking = {part: share * total - held.count(part) for part, share in shares.items()}
        part = place_of.setdefault(subject, max(lacking, key=lacking.get))
        grown[part] += ids
    return {part: sorted(ids) for part, ids in grown.items()}


def keep_split(
    folder: str | os.PathLike[str], cases: Sequence[Case], *, tell: Callable[[str], None] = lambda text: None
) -> Parts:
    """The split of a data set of one's own, drawn once and written beside the data; later cases are added to it.

    A data set that a committed split names case by case has that one. What cannot be written beside the data is the
    same at the next call, as long as the cases are.

    Args:
        folder: of the data set.
        cases: of it; those without a label are passed over.
        tell: called with a sentence on what was done.

    Returns:
        Ids of the labelled cases by part.

    Raises:
        InputError: There are fewer than two labelled cases, or the file that is there is no split.
    """
    folder = Path(folder)
    ids = {case.id for case in cases if case.label is not None}
    name, shipped = _shipped_split(ids)
    if shipped:
        tell(f"The split is {name}, which names these cases.")
        return shipped
    path = folder / KEPT
    parts = read_split(path) if path.is_file() else _written(path, make_split(ids), tell)
    grown = grown_split(parts, ids)
    if grown != {part: sorted(parts[part]) for part in SPLIT_NAMES}:
        _replace(path, grown, tell)
    found = {part: [case_id for case_id in grown[part] if case_id in ids] for part in SPLIT_NAMES}
    for part in ("train", "validation"):
        if not found[part]:
            raise InputError(f"{path}: its part {part} has no labelled case left in {folder}: mend or delete the file.")
    shared = shared_subjects(found)
    how = f"though cases of {shared[0]} are in several of them" if shared else "by subject"
    tell(f"{', '.join(f'{len(found[part])} {part}' for part in SPLIT_NAMES)}, {how} ({path}).")
    return found


def shared_subjects(parts: Mapping[str, Sequence[str]]) -> list[str]:
    """Subjects with cases in several parts, sorted: what is measured on theirs looks better than it is."""
    held: dict[str, set[str]] = {}
    for part, ids in parts.items():
        for case_id in ids:
            held.setdefault(subject_of(case_id), set()).add(part)
    return sorted(subject for subject, where in held.items() if len(where) > 1)


def planned_split(folder: str | os.PathLike[str], case_ids: Iterable[str]) -> Parts:
    """What `keep_split` would give for these cases; nothing is written.

    Args:
        folder: of the data set.
        case_ids: of the cases that have a label.

    Raises:
        InputError: There are fewer than two cases, or the file that is there is no split.
    """
    ids = set(case_ids)
    _, shipped = _shipped_split(ids)
    if shipped:
        return shipped
    kept = kept_split(folder)
    parts = make_split(ids) if kept is None else grown_split(kept, ids)
    return {part: [case_id for case_id in parts[part] if case_id in ids] for part in SPLIT_NAMES}


def kept_split(folder: str | os.PathLike[str]) -> Parts | None:
    """The split that was written beside the data; None where there is none.

    Raises:
        InputError: The file that is there is no split.
    """
    path = Path(folder) / KEPT
    return read_split(path) if path.is_file() else None


def _shipped_split(ids: set[str]) -> tuple[str, Parts | None]:
    """The committed split that names these cases and no others, with its name."""
    for path in sorted(_SPLITS.glob("*.json")):
        shipped = read_split(path)
        if {case_id for part in shipped.values() for case_id in part} == ids:
            return path.stem, shipped
    return "", None


def _by_subject(ids: Sequence[str]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for case_id in ids:
        grouped.setdefault(subject_of(case_id), []).append(case_id)
    return grouped if len(grouped) > 1 else {case_id: [case_id] for case_id in ids}


def _written(path: Path, parts: Parts, tell: Callable[[str], None]) -> Parts:
    """Write a split unless somebody else has by now: theirs counts."""
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        new.write_text(_json(parts), encoding="utf-8")
        try:
            os.link(new, path)  # whole, and never over another
        except FileExistsError:
            return read_split(path)
        except OSError:  # no links on this file system
            with path.open("x", encoding="utf-8") as file:
                file.write(_json(parts))
    except FileExistsError:
        return read_split(path)
    except OSError as error:
        tell(_unwritable(path, error))
    finally:
        _remove(new)
    return parts


def _replace(path: Path, parts: Parts, tell: Callable[[str], None]) -> None:
    new = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        new.write_text(_json(parts), encoding="utf-8")
        new.replace(path)
    except OSError as error:
        tell(_unwritable(path, error))
    finally:
        _remove(new)


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # a folder that cannot be written
        return


def _unwritable(path: Path, error: OSError) -> str:
    return f"The split cannot be written to {path} ({error.strerror}), and is drawn again each time, the same."


def _json(parts: Parts) -> str:
    return json.dumps(parts, indent=1) + "\n"


def training_parts(
    cases: Sequence[Case], split: str | os.PathLike[str] | Mapping[str, Sequence[str]] | None
) -> tuple[list[Case], list[Case]]:
    """Choose the labelled cases to train and to validate on.

    Args:
        cases: Of a data set.
        split: As for `read_split`, or what that returns; None holds out a random 15 %, the same at every call.

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
    parts = split if isinstance(split, Mapping) else read_split(split)
    absent = [i for part in ("train", "validation") for i in parts[part] if i not in labelled]
    if absent:
        raise InputError(f"split '{split}' names {len(absent)} cases without a label in DATA, first '{absent[0]}'.")
    return [labelled[i] for i in parts["train"]], [labelled[i] for i in parts["validation"]]
