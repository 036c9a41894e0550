"""Labels whose ids or file names are not the model's: which of them is which structure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from monai.data import MetaTensor

from uncertaintyseg.data.layouts import Case, read_case_label
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.errors import InputError


def read_label_map(given: Sequence[str], structures: Sequence[str]) -> dict[str, str]:
    """Which structure of a model an id, or a file of a folder of binary volumes, stands for.

    Args:
        given: each KEY=STRUCTURE, or a JSON file with {"KEY": "STRUCTURE", ...} or {"STRUCTURE": ID, ...}, which may
            list more structures than the model has.
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
    case: Case, ids: Mapping[str, int], label_map: Mapping[str, str], *, like: MetaTensor | None = None
) -> MetaTensor:
    """Read the label of a case with the model's class ids; what the map does not name is background.

    Args:
        case: a case with a label.
        ids: the model's class ids by name of the structure.
        label_map: of `read_label_map`; an empty one takes ids, or names of files, as the model has them.
        like: the scan, whose grid the label must share.

    Returns:
        int64 `[1, X, Y, Z]`.

    Raises:
        InputError: as `read_case_label`, or a key of the map is no id.
    """
    if not label_map or (case.label is not None and case.label.is_dir()):
        files = {key: ids[structure] for key, structure in label_map.items()}
        return read_case_label(case, files or ids, like=like)
    wrong = [key for key in label_map if not key.isdecimal()]
    if wrong:
        raise InputError(f"--map {wrong[0]}={label_map[wrong[0]]}: {case.label} is one volume, so map ids: 5=NAME.")
    theirs = read_label(case.label, like=like)
    ours = torch.zeros_like(theirs)
    for key, structure in label_map.items():
        ours[theirs == int(key)] = ids[structure]
    return ours


def _table(path: Path, structures: Sequence[str]) -> dict[str, str]:
    try:
        pairs = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--map {path}: no such file; give one, or KEY=STRUCTURE such as 5=organ.") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error}).") from error
    if not isinstance(pairs, dict):
        raise InputError(f'{path}: a label map is an object such as {{"5": "organ"}}.')
    named = dict((str(value), key) if isinstance(value, int) else (key, value) for key, value in pairs.items())
    found = {key: structure for key, structure in named.items() if structure in structures}
    if not found:
        raise InputError(f"{path}: names none of the model's structures ({', '.join(structures)}).")
    return found
