"""Names and ids of labels where several models mean different things by one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from uncertaintyseg.wire import Label


def ids_by_name(labels: Iterable[Label]) -> dict[str, int]:
    """Return all ids by name.

    A name that stands for several ids, in different models, is none of a single one; an id may have several names.
    """
    named = {(label.name, label.id) for label in labels}
    count = Counter(name for name, _ in named)
    return {name if count[name] == 1 else f"class {number}": number for name, number in sorted(named)}


def one_name_each(labels: Iterable[Label]) -> list[Label]:
    """Return one structure an id, nameless where the models mean different things by it."""
    by_id: dict[int, Label] = {}
    for label in labels:
        known = by_id.setdefault(label.id, label)
        if known.name != label.name:
            by_id[label.id] = Label(id=label.id, name=f"class {label.id}", rgb=known.rgb)
    return [by_id[key] for key in sorted(by_id)]
