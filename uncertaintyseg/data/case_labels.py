"""Reading what was drawn of a case: a volume of numbers, one with names, or a folder of binary volumes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

import torch
from monai.data import MetaTensor

from uncertaintyseg.data.anatomy import match_names
from uncertaintyseg.data.checks import check_ids, named
from uncertaintyseg.data.images import frames_in, is_picture
from uncertaintyseg.data.layouts import Case, volumes_in
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.data.segments import class_ids, read_segments, segments_in
from uncertaintyseg.errors import InputError

IGNORED = -1
"""In a label that was read, voxels of which nobody said what they are: they count for nothing."""
IGNORE_NAME = "ignore"
"""What nnU-Net calls them, and a segment may be called."""


def read_case_label(
    case: Case,
    ids: Mapping[str, int],
    *,
    like: MetaTensor | None = None,
    ignore: int | None = None,
    values: Mapping[int, int] | None = None,
) -> MetaTensor:
    """Read the label of a case, merging a folder of binary volumes into one.

    Args:
        case: A case with a label; outside of what is `verified`, where that is known, all voxels become `IGNORED`.
            Where it has our `own_ids`, its numbers are the ids, whatever names, `values` and `ignore` say of them.
        ids: Name to class id; of a folder the file of each name is read (`anatomy.match_names`), and later names win
            where structures overlap. In a volume with names (`segments`) these count, else its numbers are the ids.
        like: The scan, whose grid the label must share.
        ignore: Number that marks voxels as not labelled, in a volume; they become `IGNORED`. A segment may be named so.
        values: Class id by number in a volume without names, where they are not the same. Where it leaves something
            out, as 0, segments of other names are background too.

    Returns:
        int64 `[1, X, Y, Z]`; of a folder `meta["unmatched"]` lists the volumes that hold none of the structures.

    Raises:
        InputError: There is no label, a number is none of `values`, `verified` is no binary volume, or as `read_label`.
    """
    if case.label is None:
        raise InputError(f"{case.image}: case {case.id} has no label; put one of the same name into labels/.")
    if case.own_ids:
        ignored = [] if ignore is None or ignore in ids.values() else [ignore]
        return only_verified(case, _numbered(case, ids, like, ignored))
    return only_verified(case, _drawn(case, ids, like, ignore, values))


def only_verified(case: Case, label: MetaTensor) -> MetaTensor:
    """A label `[1, X, Y, Z]` of a case, changed in place: `IGNORED` where nobody has looked at it.

    Raises:
        InputError: `verified` is no binary volume on the label's grid.
    """
    if case.verified is not None:
        label[read_label(case.verified, (1,), like=label) == 0] = IGNORED
    return label


def _drawn(
    case: Case,
    ids: Mapping[str, int],
    like: MetaTensor | None,
    ignore: int | None,
    values: Mapping[int, int] | None,
) -> MetaTensor:
    """What somebody drew, seen or not."""
    if case.label.is_dir() and not is_mask_clip(case):
        return _merged(case, ids, like)
    if segments := segments_in(case.label):
        named = ids if ignore is None else {IGNORE_NAME: IGNORED, **ids}
        chosen = 0 in (values or {}).values()
        return read_segments(case.label, segments, class_ids(segments, named), like=like, others=chosen)
    if values:
        return _renumbered(case, values if ignore is None else {**values, ignore: IGNORED}, like)
    return _numbered(case, ids, like, [] if ignore is None else [ignore])


def is_mask_clip(case: Case) -> bool:
    """Whether the label of a case is a folder of frames, not of structures: pictures, and the scan is no single one."""
    return case.label is not None and not is_picture(case.image) and bool(frames_in(case.label))


def _numbered(case: Case, ids: Mapping[str, int], like: MetaTensor | None, ignored: Sequence[int]) -> MetaTensor:
    """Of a volume whose numbers are the ids, or `ignored`."""
    label = _known(case, [*ids.values(), *ignored], like)
    for number in ignored:
        label[label == number] = IGNORED
    return label


def read_case_raters(
    case: Case,
    ids: Mapping[str, int],
    *,
    like: MetaTensor | None = None,
    ignore: int | None = None,
    values: Mapping[int, int] | None = None,
) -> Iterator[MetaTensor]:
    """Read what each rater of a case drew, one after another.

    Args:
        case: of a data set; one without raters gives nothing.
        ids: Name to class id.
        like: The scan, whose grid the raters' labels must share.
        ignore: As of `read_case_label`.
        values: As of `read_case_label`.

    Returns:
        int64 `[1, X, Y, Z]` each.

    Raises:
        InputError: As `read_case_label`.
    """
    drawn = (replace(case, label=path, verified=None) for path in case.raters)
    return (read_case_label(one, ids, like=like, ignore=ignore, values=values) for one in drawn)


def _merged(case: Case, ids: Mapping[str, int], like: MetaTensor | None) -> MetaTensor:
    """Of a folder of binary volumes."""
    if not ids:
        raise InputError(f"{case.label}: name at least one structure to read from this folder")
    volumes = volumes_in(case.label)
    matched = match_names(volumes, ids)
    files = {structure: volumes[name] for name, structure in matched.items()}
    merged: MetaTensor | None = None
    for name, class_id in ids.items():
        path = files.get(name, case.label / f"{name}.nii.gz")
        structure = read_label(path, like=like if merged is None else merged)
        merged = torch.zeros_like(structure) if merged is None else merged
        merged[structure != 0] = class_id
    merged.meta |= {"filename_or_obj": str(case.label), "unmatched": sorted(volumes.keys() - matched.keys())}
    return merged


def _known(case: Case, known: Collection[int], like: MetaTensor | None) -> MetaTensor:
    """The numbers of a volume, none of which is unknown."""
    label = read_label(case.label, like=like)
    with named(case.label):
        present = torch.bincount(label.as_tensor().flatten()).nonzero().flatten().tolist()
        check_ids(present, known, case=case.id or case.image.name)
    return label


def _renumbered(case: Case, values: Mapping[int, int], like: MetaTensor | None) -> MetaTensor:
    """Of a volume whose numbers stand for other ids."""
    known = {0: 0, **values}
    label = _known(case, known, like)
    table = torch.zeros(max(known) + 1, dtype=torch.int64)
    for value, class_id in known.items():
        table[value] = class_id
    label.copy_(table[label.as_tensor()])
    return label
