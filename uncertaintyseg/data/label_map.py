"""Labels whose ids or file names are not the model's: which of them is which structure."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import torch
from monai.data import MetaTensor
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from uncertaintyseg.data.anatomy import match_names
from uncertaintyseg.data.layouts import Case, read_case_label, volumes_in
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.errors import InputError

_NAMED_ID = re.compile(r'<Label Key="(\d+)"[^>]*><!\[CDATA\[([^\]]*)\]\]></Label>')


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
        label_map: of `read_label_map`; an empty one goes by names (`named_label_map`), and without names takes ids as
            the model has them.
        like: the scan, whose grid the label must share.

    Returns:
        int64 `[1, X, Y, Z]`; `meta["structures"]` lists those that the label can say anything of, and
        `meta["unmatched"]` what it holds beside them.

    Raises:
        InputError: as `read_case_label`, or a key of the map is no id.
    """
    unmatched: list[str] = []
    if not label_map and case.label is not None:
        label_map, unmatched = named_label_map(case.label, list(ids))
    if not label_map or (case.label is not None and case.label.is_dir()):
        files = {key: ids[structure] for key, structure in label_map.items()}
        label = read_case_label(case, files or ids, like=like)
    else:
        label = _renumbered(case.label, ids, label_map, like)
    given = set(label_map.values()) or ids.keys()
    label.meta |= {"structures": [name for name in ids if name in given], "unmatched": unmatched}
    return label


def named_label_map(label: Path, structures: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """What the names in a label say: those of the files of a folder, or those that TotalSegmentator writes into NIfTI.

    Returns:
        As of `read_label_map`, and the names that are no structure of the model. Both are empty where there are no
        names.

    Raises:
        InputError: when there are names, but none is a structure of the model.
    """
    names = {name: name for name in volumes_in(label)} if label.is_dir() else label_names(label)
    matched = match_names(names.values(), structures)
    found = {key: matched[name] for key, name in names.items() if name in matched}
    unmatched = sorted(set(names.values()) - matched.keys())
    if unmatched and not found:
        raise InputError(
            f"{label}: {', '.join(unmatched[:5])}: no structure of the model, which has {', '.join(structures)}; "
            "say which is which with --map."
        )
    return found, unmatched


def label_names(path: Path) -> dict[str, str]:
    """Names of ids that a NIfTI label carries in a Caret label table, as TotalSegmentator writes it; {} without one."""
    if not path.name.endswith((".nii", ".nii.gz")):
        return {}
    try:
        extensions = nib.load(path).header.extensions
        text = "".join(bytes(extension.get_content()).decode("utf-8", "replace") for extension in extensions)
    except (OSError, EOFError, TypeError, ValueError, zlib.error, ImageFileError, HeaderDataError):
        return {}  # reading its voxels will say what is wrong
    return dict(_NAMED_ID.findall(text))


def _renumbered(
    path: Path, ids: Mapping[str, int], label_map: Mapping[str, str], like: MetaTensor | None
) -> MetaTensor:
    wrong = [key for key in label_map if not key.isdecimal()]
    if wrong:
        raise InputError(f"--map {wrong[0]}={label_map[wrong[0]]}: {path} is one volume, so map ids: 5=NAME.")
    theirs = read_label(path, like=like)
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
