"""Labels whose ids or file names are not the model's: which of them is which structure."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from monai.data import MetaTensor

from uncertaintyseg.data.anatomy import match_names
from uncertaintyseg.data.case_labels import IGNORE_NAME, IGNORED, is_mask_clip, only_verified, read_case_label
from uncertaintyseg.data.layouts import Case, volumes_in
from uncertaintyseg.data.segments import Segment, class_ids, read_segments, segments_in
from uncertaintyseg.errors import InputError


def read_label_map(given: Sequence[str], structures: Sequence[str]) -> dict[str, str]:
    """Which structure of a model an id, a segment, or a file of a folder of binary volumes stands for.

    Args:
        given: each KEY=STRUCTURE, or a JSON file with {"KEY": "STRUCTURE", ...} or {"STRUCTURE": ID, ...}, which may
            list more structures than the model has, such as nnU-Net's dataset.json.
        structures: names of the model's structures.

    Raises:
        InputError: for a structure that the model does not have, or a file that is no such table.
    """
    found: dict[str, str] = {}
    for entry in given:
        key, equals, structure = entry.partition("=")
        if not equals:
            found |= _table(Path(entry), structures)
        elif structure in structures:
            found[key] = structure
        else:
            raise InputError(f"--map {entry}: the model has no '{structure}'; it has {', '.join(structures)}.")
    return found


def read_mapped_label(
    case: Case,
    ids: Mapping[str, int],
    label_map: Mapping[str, str],
    *,
    like: MetaTensor | None = None,
    ignore: int | None = None,
    values: Mapping[int, int] | None = None,
) -> MetaTensor:
    """Read the label of a case with the model's class ids; what the map does not name is background.

    Args:
        case: a case with a label.
        ids: the model's class ids by name of the structure.
        label_map: of `read_label_map`; an empty one goes by the names of a folder's files or of a volume's segments
            (`segments`), and without names takes ids as the model has them.
        like: the scan, whose grid the label must share.
        ignore: as of `read_case_label`.
        values: as of `read_case_label`; only where no map says otherwise.

    Returns:
        int64 `[1, X, Y, Z]` of class ids and `IGNORED`; `meta["structures"]` lists those that the label can say
        anything of, and `meta["unmatched"]` what it holds beside them.

    Raises:
        InputError: as `read_case_label`, or a key of the map is no id.
    """
    if case.label is None or (case.label.is_dir() and not is_mask_clip(case)):
        if not label_map and case.label is not None:
            volumes = volumes_in(case.label)
            label_map = match_names(volumes, ids)
            _check_found(case.label, volumes, label_map, ids)
        files = {key: ids[structure] for key, structure in label_map.items()}
        label = read_case_label(case, files or ids, like=like)
        given, unmatched = set(label_map.values()), label.meta["unmatched"]
    elif (segments := segments_in(case.label)) or label_map:
        classes = _mapped(case.label, segments, ids, label_map) if label_map else class_ids(segments, ids)
        names = {segment.name for segment in segments}
        _check_found(case.label, names, classes, ids)
        if ignore is not None:
            unseen = [segment for segment in segments if segment.name == IGNORE_NAME]
            classes = {**classes, **dict.fromkeys(unseen if segments else [Segment(IGNORE_NAME, ignore)], IGNORED)}
        label = only_verified(case, read_segments(case.label, list(classes), classes, like=like, others=True))
        given = {name for name, class_id in ids.items() if class_id in classes.values()}
        unmatched = [] if label_map else sorted(names - {segment.name for segment in classes})
    else:
        label, given, unmatched = read_case_label(case, ids, like=like, ignore=ignore, values=values), set(ids), []
    label.meta |= {"structures": [name for name in ids if name in given], "unmatched": unmatched}
    return label


def _mapped(
    path: Path, segments: Sequence[Segment], ids: Mapping[str, int], label_map: Mapping[str, str]
) -> dict[Segment, int]:
    """The classes of the segments whose names are keys of a map, and of the numbers that are."""
    named = {segment: ids[label_map[segment.name]] for segment in segments if segment.name in label_map}
    others = label_map.keys() - {segment.name for segment in named}
    wrong = sorted(key for key in others if not key.isdecimal())
    if wrong and not segments:
        raise InputError(f"--map {wrong[0]}={label_map[wrong[0]]}: {path} is one volume, so map ids: 5=NAME.")
    if any(segment.layer for segment in segments):  # a number alone says nothing
        return named
    return named | {Segment(key, int(key)): ids[label_map[key]] for key in others if key.isdecimal()}


def _check_found(label: Path, names: Collection[str], found: Collection, structures: Collection[str]) -> None:
    if names and not found:
        raise InputError(
            f"{label}: {', '.join(sorted(names)[:5])}: no structure of the model, which has {', '.join(structures)}; "
            "say which is which with --map."
        )


def _table(path: Path, structures: Sequence[str]) -> dict[str, str]:
    try:
        pairs = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"--map {path}: no such file; give one, or KEY=STRUCTURE such as 5=organ.") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error}).") from error
    if isinstance(pairs, dict) and isinstance(pairs.get("labels"), dict):  # nnU-Net's dataset.json
        pairs = pairs["labels"]
    if not isinstance(pairs, dict):
        raise InputError(f'{path}: a label map is an object such as {{"5": "organ"}}, or a dataset.json of nnU-Net.')
    named = {str(v): key for key, v in pairs.items() if isinstance(v, int)}
    named |= {key: v for key, v in pairs.items() if isinstance(v, str)}
    matched = match_names(named.values(), structures)
    if regions := match_names((key for key, v in pairs.items() if isinstance(v, list)), structures):
        raise InputError(f"{path}: {', '.join(regions)}: regions of several ids; say what each id is, such as 5=NAME.")
    found = {key: matched[name] for key, name in named.items() if name in matched}
    if not found:
        raise InputError(f"{path}: names none of the model's structures ({', '.join(structures)}).")
    return found
