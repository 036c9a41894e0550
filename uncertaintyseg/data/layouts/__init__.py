"""Folders of cases, as public data sets lay them out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uncertaintyseg.data.cases import Case, Layout, by_scan, volumes
from uncertaintyseg.data.layouts import nnunet, own
from uncertaintyseg.data.layouts.brats import BRATS
from uncertaintyseg.data.layouts.btcv import BTCV
from uncertaintyseg.data.layouts.kits import KITS
from uncertaintyseg.data.layouts.lits import LITS
from uncertaintyseg.data.layouts.nnunet import DECATHLON, NNUNET
from uncertaintyseg.data.layouts.own import OWN
from uncertaintyseg.data.layouts.totalsegmentator import TOTALSEGMENTATOR
from uncertaintyseg.data.splitting import training_parts
from uncertaintyseg.errors import InputError

__all__ = [
    "DATA_VARIABLE", "LAYOUTS", "Case", "Layout", "find_layout", "find_real_data", "labels_of_no_scan", "read_cases",
    "training_parts", "volumes_in", "with_labels",
]  # fmt: skip
# `training_parts`: the train.json of models that were made before it moved names it here

DATA_VARIABLE = "UNCERTAINTYSEG_DATA"
"""Environment variable naming the folder that holds real data sets."""
LAYOUTS = (OWN, NNUNET, DECATHLON, BTCV, TOTALSEGMENTATOR, KITS, BRATS, LITS)
"""Known layouts in the order in which they are tried; the last ones look the longest."""

_BESIDE = ((own.IMAGES, own.LABELS), (nnunet.IMAGES, nnunet.LABELS))
_CHECKOUT = Path(__file__).parents[3]
_EXPECTED = ", ".join(layout.tree for layout in LAYOUTS[:-1]) + f", or {LAYOUTS[-1].tree}"


def find_layout(folder: str | os.PathLike[str]) -> tuple[Layout, list[Case]]:
    """How a folder is laid out, and its cases, sorted by id; hidden files and the Finder's `._` files are ignored.

    Raises:
        InputError: No such folder, no layout that is known, two scans of one id (capitals do not count), or a volume in
            raters/ that is not named after a scan and the number of a rater.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Expected {_EXPECTED}.")
    try:
        found = next(((layout, cases) for layout in LAYOUTS if (cases := layout.find(folder))), None)
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be listed ({error.strerror}).") from error
    if found:
        _check_capitals(found[1])
        return found[0], sorted(found[1], key=lambda case: case.id)
    raise InputError(f"{folder}: no scans in a known layout. Expected {_EXPECTED}.")


def _check_capitals(cases: Sequence[Case]) -> None:
    """Refuse ids that are one file name on Windows and macOS, where what is made of one would replace the other's."""
    seen: dict[str, Case] = {}
    for case in cases:
        if (first := seen.setdefault(case.id.casefold(), case)) is not case:
            raise InputError(
                f"{case.image}: the case ids '{case.id}' and '{first.id}' are alike but for capitals ({first.image}): "
                "rename one of the two."
            )


def read_cases(folder: str | os.PathLike[str]) -> list[Case]:
    """Find the cases of a data set, sorted by id.

    Raises:
        InputError: As `find_layout`.
    """
    return find_layout(folder)[1]


def with_labels(cases: Sequence[Case], folder: str | os.PathLike[str]) -> list[Case]:
    """The cases with the labels of a folder: a volume, or a folder of binary volumes, by the case's id.

    What is verified is left behind: it was said of other labels.

    Raises:
        InputError: No such folder, or no label in it is named after a case.
    """
    labels = by_scan(volumes(Path(folder)), {case.id for case in cases})
    if not labels:
        example = f"{cases[0].id}.nii.gz" if cases else "<case>.nii.gz"
        raise InputError(f"{folder}: holds no label of these cases; name them after the scans, such as {example}.")
    return [replace(case, label=labels.get(case.id), verified=None) for case in cases]


def volumes_in(folder: Path) -> dict[str, Path]:
    """The volumes of a folder by their name without its ending."""
    return {name: path for name, path in volumes(folder).items() if path.is_file()}


def find_real_data(name: str) -> Path | None:
    """Folder of a real data set: under `$UNCERTAINTYSEG_DATA`, else in `shared/data` beside the checkout."""
    places = [_CHECKOUT.parent / "shared" / "data"]
    if os.environ.get(DATA_VARIABLE):
        places.insert(0, Path(os.environ[DATA_VARIABLE]))
    return next((place / name for place in places if (place / name).is_dir()), None)


def labels_of_no_scan(folder: str | os.PathLike[str]) -> list[Path]:
    """The volumes beside the scans of a data set, in labels/ or labelsTr/, that no scan has for its label."""
    folder = Path(folder)
    for images, labels in _BESIDE:
        if (folder / images).is_dir():
            used = {case.label for case in read_cases(folder)}
            return sorted(path for path in volumes(folder / labels).values() if path not in used)
    return []
