"""What is wrong with a data set, by case, before anything is planned.

Errors are what training would fail of or learn something false from; warnings are what a person should look at.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from uncertaintyseg.data.layouts import labels_of_no_scan
from uncertaintyseg.planning.facts import CaseFacts, Problem
from uncertaintyseg.planning.units import other_units, swapped_channels

if TYPE_CHECKING:
    from uncertaintyseg.data.dataset import DataSet

__all__ = ["Problem", "compare"]

_ENOUGH = 5  # cases, of which the middle says what is usual
_FAR = 3.0  # times more or less than usual: spacing, extent
_FAR_VOLUME = 10.0  # of a structure, which varies more
_SOME = 5  # names in a sentence
_A = {"image": "an image", "clip": "a clip"}


def compare(dataset: DataSet, cases: Sequence[CaseFacts]) -> list[Problem]:
    """What is wrong with the cases of a data set, each by itself and seen beside the others.

    Args:
        dataset: they are of.
        cases: those that were measured.
    """
    return [
        *_count(dataset, cases),
        *_axes(cases),
        *_unlabelled(dataset),
        *_values(dataset, cases),
        *_empty(cases),
        *_structures(dataset, cases),
        *_duplicates(cases),
        *_orientations(cases),
        *_sizes(cases),
        *_volumes(dataset, cases),
        *other_units(dataset, cases),
        *swapped_channels(dataset, cases),
    ]


def _count(dataset: DataSet, cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    if len(cases) < 2:
        text = f"{dataset.folder}: one labelled case; training needs two at least, one of them to validate on."
        yield Problem(None, "cases", text, "error")


def _axes(cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    """A network sees volumes or slices, and a spacing that only some have is none."""
    flat = [case for case in cases if case.axes != "volume"]
    if 0 < len(flat) < len(cases):
        odd = flat if len(flat) <= len(cases) / 2 else [case for case in cases if case.axes == "volume"]
        for case in odd:
            is_flat = case.axes != "volume"
            found, others = (f"is {_A[case.axes]}", "volumes") if is_flat else ("is a volume", "images or clips")
            text = f"it {found}, and most others are {others}: a model is of one kind. Plan them apart."
            yield Problem(case.id, "axes", text, "error")
    unknown = [case for case in cases if not case.spacing_known]
    if 0 < len(unknown) < len(cases):
        for case in unknown if len(unknown) <= len(cases) / 2 else [case for case in cases if case.spacing_known]:
            has = (
                "has a spacing in mm, most others have none"
                if case.spacing_known
                else "has no spacing, most others have"
            )
            text = f"it {has}: sizes in pixels and in mm do not go together. Give all of them in one way."
            yield Problem(case.id, "spacing", text, "error")


def _unlabelled(dataset: DataSet) -> Iterator[Problem]:
    if names := [case.id for case in dataset.cases if case.label is None]:
        text = f"{len(names)} of {len(dataset.cases)} scans have no label and are left out: {some(names)}."
        yield Problem(None, "unlabelled", text, "warning")
    if strangers := [path.name for path in labels_of_no_scan(dataset.folder)]:
        text = f"{len(strangers)} labels belong to no scan: {some(strangers)}. A label is named after its scan."
        yield Problem(None, "unlabelled", text, "warning")


def _values(dataset: DataSet, cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    meant = dataset.values or {label.id: label.id for label in dataset.labels}
    known = ", ".join(str(number) for number in sorted({0, *meant}))
    for case in cases:
        if case.unknown:
            found = ", ".join(f"{number} ({count} voxels)" for number, count in sorted(case.unknown.items())[:_SOME])
            first = min(case.unknown)
            text = (
                f"its label holds {found}; known are {known}. Say what it is with --labels, such as {first}=tumour, or "
                f"{first}=background to leave it out."
            )
            yield Problem(case.id, "values", text, "error")


def _empty(cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    for case in cases:
        if not case.voxels:
            what = "says nothing of any voxel" if case.ignored == 1 else "holds no structure"
            text = f"its label {what}. Where there is none in the scan that is right; else draw it, or leave it out."
            yield Problem(case.id, "empty", text, "warning")


def _structures(dataset: DataSet, cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    held = Counter(number for case in cases for number in case.voxels)
    if nowhere := [label.name for label in dataset.labels if not held[label.id]]:
        text = (
            f"no case holds {some(nowhere)}, so there is nothing to learn of it. Name those that are there with "
            "--structures, or say with --labels which number is which."
        )
        yield Problem(None, "absent", text, "error")
    if seldom := [label for label in dataset.labels if 0 < held[label.id] < len(cases) / 2]:
        listed = some([f"{label.name} ({held[label.id]} of {len(cases)})" for label in seldom])
        yield Problem(None, "absent", f"in fewer than half of the cases: {listed}.", "warning")


def _duplicates(cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    scans: dict[str, CaseFacts] = {}
    labels: dict[str, CaseFacts] = {}
    for case in cases:
        first = scans.setdefault(case.image_hash, case)
        if first is not case:
            other = "" if first.label_hash == case.label_hash else ", with another label"
            text = (
                f"its scan is that of {first.id}, voxel by voxel{other}. One that is learnt from and measured on makes "
                "a model look better than it is: keep one of the two."
            )
            yield Problem(case.id, "duplicate", text, "error")
        elif case.label_hash and (first := labels.setdefault(case.label_hash, case)) is not case:
            text = f"its label is that of {first.id}, voxel by voxel, on another scan: is it the right one?"
            yield Problem(case.id, "duplicate", text, "warning")


def _orientations(cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    counts = Counter(case.orientation for case in cases)
    (usual, most), *_ = counts.most_common(1)
    if most <= len(cases) / 2 or len(cases) < 3:
        return
    for case in cases:
        if case.orientation != usual:
            text = (
                f"its axes run {case.orientation}, those of {most} others {usual}. All are turned as their headers "
                "say, so that is harmless unless the header is wrong: look where left is."
            )
            yield Problem(case.id, "orientation", text, "warning")


def _sizes(cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    if len(cases) < _ENOUGH:
        return
    spacings = np.array([case.spacing for case in cases])
    extents = spacings * [case.shape for case in cases]
    unit = "mm" if all(case.spacing_known for case in cases) else "px"
    for kind, rows in (("spacing", spacings), ("extent", extents)):
        usual = np.median(rows, axis=0)
        for case, row in zip(cases, rows, strict=True):
            if np.abs(np.log(row / usual)).max() > np.log(_FAR):
                text = f"{kind} {_by(row)} {unit}, where {_by(usual)} is usual: is its header right?"
                yield Problem(case.id, kind, text, "warning")


def _volumes(dataset: DataSet, cases: Sequence[CaseFacts]) -> Iterator[Problem]:
    """A structure that is a crumb, or far too much: a slip of the hand, or numbers that were mixed up."""
    names = {label.id: label.name for label in dataset.labels}
    found: dict[str, list[str]] = defaultdict(list)
    flat = any(case.axes != "volume" for case in cases)
    unit = ("mm2" if all(case.spacing_known for case in cases) else "px") if flat else "mL"
    scale = 1 if flat else 1000
    for number, name in names.items():
        held = {case.id: case.volumes[number] for case in cases if number in case.voxels}
        if len(held) < _ENOUGH:
            continue
        logs = np.log(list(held.values()))
        usual, spread = np.median(logs), np.median(np.abs(logs - np.median(logs)))
        for case_id, volume in held.items():
            off = abs(np.log(volume) - usual)
            if off > max(np.log(_FAR_VOLUME), 6 * spread):  # 6: four standard deviations of a normal distribution
                found[case_id].append(f"{name} {volume / scale:.3g} {unit}, where {np.exp(usual) / scale:.3g} is usual")
    for case_id, said in found.items():
        yield Problem(case_id, "volume", f"{some(said)}.", "warning")


def some(names: Sequence[str]) -> str:
    """The first of many, for a sentence."""
    return ", ".join([*names[:_SOME], *([f"{len(names) - _SOME} more"] if len(names) > _SOME else [])])


def _by(values: Sequence[float]) -> str:
    return " x ".join(f"{value:.3g}" for value in values)
