"""Labels that a person put into the folder: whether they belong to their scan, and what their numbers are.

What was sent to the server holds class ids. A file may hold the numbers of the data set that it comes from instead,
which a model's metadata (`uncertainty.values`) may call otherwise; the one cannot be told from the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from monailabel_app.store.labels import SEGMENTATION
from uncertaintyseg.data.scan import read_label, read_scan
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle


def unclear_numbers(models: Iterable[Bundle]) -> dict[int, str]:
    """What each number is that is one structure in the files of a model's data set and another as a class id."""
    found = {}
    for model in models:
        names = {0: "background", **{label.id: label.name for label in model.labels}}
        for number in model.uncertainty.unclear:
            ignored = number == model.uncertainty.ignore
            theirs = "without a verdict" if ignored else f"'{names[model.uncertainty.values[number]]}'"
            found[number] = f"{theirs} in the data set of the model {model.name} and '{names[number]}' as its class id"
    return found


def check_by_hand(path: Path, unclear: Mapping[int, str], scan: Path | None = None) -> None:
    """Raise `InputError` unless a file is a label, of a scan where that is at hand, and its numbers are clear."""
    segments = segments_in(path)
    if path.name.lower().endswith(".nrrd") and segments:
        raise InputError(f"{path}: {SEGMENTATION}")
    label = read_label(path, like=None if scan is None else read_scan(scan))
    if unclear and not segments:
        numbers = sorted(unclear.keys() & set(label.unique().tolist()))
        if numbers:
            raise InputError(
                f"{path}: the number {numbers[0]} is {unclear[numbers[0]]}, so what it means here cannot be told. Send "
                "the label to PUT /datastore/label, as .seg.nrrd or with label_info: there names count."
            )
