"""nnU-Net's and the Decathlon's dataset.json: what the labels and the channels of a data set are called.

Facts from nnU-Net's documentation of its dataset format (documentation/dataset_format.md, region_based_training.md and
ignore_label.md). Version 2 maps names to values, or to lists of them where structures are regions that lie within each
other; version 1 and the Decathlon map values to names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from uncertaintyseg.data.cases import Facts
from uncertaintyseg.data.time_axis import AXIS, DESCRIPTION
from uncertaintyseg.errors import InputError

NAME = DESCRIPTION
_BACKGROUND, _IGNORE = "background", "ignore"
_MOST_VALUE = 65535  # of a label
_MR_WORDS = ("mr", "t1", "t2", "flair", "dwi", "adc", "swi", "pd", "dce")


@dataclass(frozen=True)
class Description:
    """What a dataset.json says.

    Attributes:
        facts: of labels and channels.
        numbered: whether scans are named by channel, `<case>_0000`, as version 2 wants it.
        files: scan's files, in the order of the channels, and label (None: it has none) by case, where they are listed.
    """

    facts: Facts = field(default_factory=Facts)
    numbered: bool = False
    files: Mapping[str, tuple[list[Path], Path | None]] = field(default_factory=dict)


def read_description(folder: Path) -> Description:
    """Read the dataset.json of a folder; one that says nothing where there is none.

    Raises:
        InputError: It is no JSON, or a field is not as it has to be; the message names file and field.
    """
    path = folder / NAME
    if not path.is_file():
        return Description()
    said = _read(path)
    channels = _channels(path, said)
    axis_alone = AXIS in said and "labels" not in said
    names, regions, ignore = ({}, {}, None) if axis_alone else _labels(path, said)
    facts = Facts(names, regions, channels, _modality(channels), ignore)
    return Description(facts, "channel_names" in said, _files(path, said))


def lists_files(folder: Path) -> bool:
    """Whether the dataset.json of a folder says where the files of its cases lie."""
    try:
        return "dataset" in _read(folder / NAME)
    except InputError:
        return False


def exclusive_parts(regions: Mapping[str, Sequence[int]]) -> dict[int, str]:
    """Names of the parts into which regions cut each other, by voxel value.

    A part that is all of a region has its name; else it is the smallest region it lies in, without what lies inside of
    that. Values that the same regions hold are one part.

    Args:
        regions: voxel values by name.
    """
    sets = {name: frozenset(values) for name, values in regions.items()}
    holding = {
        value: [name for name, values in sets.items() if value in values]
        for value in sorted(set().union(*sets.values()))
    }
    found: dict[int, str] = {}
    for value, around in holding.items():
        smallest = [name for name in around if not any(sets[other] < sets[name] for other in around)]
        common = frozenset.intersection(*(sets[name] for name in smallest))
        name = " and ".join(smallest)
        if {other for other, theirs in holding.items() if theirs == around} != common:
            inside = [name for name in sets if sets[name] < common]
            largest = [name for name in inside if not any(sets[name] < sets[other] for other in inside)]
            name += f" without {' and '.join(largest)}" if largest else " alone"
        found[value] = name
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        said = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}).") from error
    if not isinstance(said, dict):
        raise InputError(f'{path}: holds no object with fields such as "labels".')
    return said


def _labels(path: Path, said: Mapping[str, Any]) -> tuple[dict[int, str], dict[str, list[int]], int | None]:
    """Names by value, regions, and the value of what is to be ignored."""
    labels = said.get("labels")
    if not isinstance(labels, dict) or not labels:
        raise _wrong(path, "labels", 'an object such as {"background": 0, "liver": 1}')
    if all(key.isdecimal() and isinstance(name, str) for key, name in labels.items()):
        named = {int(key): _aside(name) for key, name in labels.items() if int(key)}
        ignore = next((value for value, name in named.items() if name == _IGNORE), None)
        return dict(sorted((v, n) for v, n in named.items() if v != ignore)), {}, ignore
    values: dict[str, list[int]] = {}
    for name, value in labels.items():
        held = value if isinstance(value, list) else [value]
        if not held or not all(isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= _MOST_VALUE for v in held):
            raise _wrong(path, f"labels.{name}", "a whole number, or a list of them for a region")
        values[_aside(name)] = held
    if values.pop(_BACKGROUND, [0]) != [0] or any(0 in held for held in values.values()):
        raise _wrong(path, "labels", "0 for the background, and for nothing else")
    ignored = values.pop(_IGNORE, None)
    if ignored is not None and (len(ignored) > 1 or any(ignored[0] in held for held in values.values())):
        raise _wrong(path, f"labels.{_IGNORE}", "a number that nothing else has")
    ignore = None if ignored is None else ignored[0]
    if not values:
        raise _wrong(path, "labels", "at least one structure beside the background")
    _check_order(path, said.get("regions_class_order"), values)
    if all(len(held) == 1 for held in values.values()):
        named = {held[0]: name for name, held in values.items()}
        if len(named) < len(values):
            raise _wrong(path, "labels", "another number for each structure, or lists for regions")
        return dict(sorted(named.items())), {}, ignore
    return exclusive_parts(values), values, ignore


def _aside(name: str) -> str:
    """The name itself; what stands for no structure is written small by some and with a capital by others."""
    return name.casefold() if name.casefold() in (_BACKGROUND, _IGNORE) else name


def _check_order(path: Path, order: Any, regions: Mapping[str, list[int]]) -> None:
    """nnU-Net wants it for regions: the value with which each region is drawn, later ones over earlier ones."""
    if order is None:
        return
    known = {value for held in regions.values() for value in held}
    if not (isinstance(order, list) and len(order) == len(regions) and all(value in known for value in order)):
        raise _wrong(path, "regions_class_order", f"a list of {len(regions)} values, one for each region")


def _channels(path: Path, said: Mapping[str, Any]) -> tuple[str, ...]:
    for name in ("channel_names", "modality"):
        if name not in said:
            continue
        given = said[name]
        numbers = [str(number) for number in range(len(given))] if isinstance(given, dict) else None
        if not numbers or not all(isinstance(given.get(number), str) for number in numbers):
            raise _wrong(path, name, 'an object such as {"0": "CT"}, with a name for each channel from 0 on')
        return tuple(given[number] for number in numbers)
    return ()


def _modality(channels: Sequence[str]) -> str | None:
    """What all channels are, "CT", "MR" or "US"."""
    kinds = {_kind(name.casefold()) for name in channels}
    return kinds.pop() if len(kinds) == 1 else None


def _kind(name: str) -> str | None:
    if name == "ct":
        return "CT"
    if name in ("us", "ultrasound"):
        return "US"
    return "MR" if name.startswith(_MR_WORDS) else None


def _files(path: Path, said: Mapping[str, Any]) -> dict[str, tuple[list[Path], Path | None]]:
    """Of the field `dataset`, whose paths may start at the folder."""
    given = said.get("dataset")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise _wrong(path, "dataset", 'an object such as {"case": {"images": ["a.nii.gz"], "label": "b.nii.gz"}}')
    found = {}
    for case, files in given.items():
        images = files.get("images") if isinstance(files, dict) else None
        label = files.get("label") if isinstance(files, dict) else None
        are_paths = isinstance(images, list) and images and all(isinstance(file, str) for file in images)
        if not are_paths or not isinstance(label, str | None):
            raise _wrong(path, f"dataset.{case}", '{"images": [paths, one a channel], "label": path}')
        found[case] = [path.parent / file for file in images], None if label is None else path.parent / label
    return found


def _wrong(path: Path, field_name: str, wanted: str) -> InputError:
    return InputError(f"{path}: field '{field_name}' has to be {wanted}.")
