"""Names and ids of labels where several models mean different things by one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from uncertaintyseg.data.segments import segments_from_client
from uncertaintyseg.errors import InputError
from uncertaintyseg.wire import Label


def ids_by_name(labels: Iterable[Label]) -> dict[str, int]:
    """Return all ids by name.

    A name that stands for several ids, in different models, is none of a single one; an id may have several names.
    """
    named = {(label.name, label.id) for label in labels}
    count = Counter(name for name, _ in named)
    return {name if count[name] == 1 else _nameless(number): number for name, number in sorted(named)}


def one_name_each(labels: Iterable[Label]) -> list[Label]:
    """Return one structure an id, nameless where the models mean different things by it."""
    by_id: dict[int, Label] = {}
    for label in labels:
        known = by_id.setdefault(label.id, label)
        if known.name != label.name:
            by_id[label.id] = Label(id=label.id, name=_nameless(label.id), rgb=known.rgb)
    return [by_id[key] for key in sorted(by_id)]


def clear_names(info: Mapping[str, Any]) -> dict[int, str]:
    """Names by number of what a label holds, from what was noted of it; none at all where one of them is nameless."""
    try:
        names = {segment.value: segment.name for segment in segments_from_client(info.get("label_info"))}
    except InputError:  # noted by another program
        return {}
    return {} if any(name == _nameless(number) for number, name in names.items()) else names


def names_to_keep(info: Mapping[str, Any], structures: Iterable[Label]) -> dict[int, str]:
    """Names by number for the file of a label; none at all where one that it holds is nameless.

    Args:
        info: noted of the label, with "label_info".
        structures: that its numbers may be.
    """
    named = {label.id: label.name for label in structures if label.name != _nameless(label.id)}
    return named if clear_names(info) or not info["label_info"] else {}


def _nameless(number: int) -> str:
    return f"class {number}"
