"""The slices of a data set that show a network what to segment: those that somebody drew, or looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from monai.data import MetaTensor
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED, read_case_label
from uncertaintyseg.data.cases import Case
from uncertaintyseg.data.channels import read_channels
from uncertaintyseg.data.dataset import DataSet, read_dataset
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.slices import OntoSlicesd, is_flat, padded, stored_place, thickest
from uncertaintyseg.errors import InputError

MOST = 16
"""Slices that are shown where nobody says how many; the paper has 64, and time and memory grow with them."""
_FEWEST_PIXELS = 2


@dataclass(frozen=True)
class Slice:
    """One slice that may be shown: its case, its place along the slices, and how much of each structure it shows."""

    case: str
    place: int
    areas: tuple[int, ...]
    image: Tensor = field(repr=False)
    """`[size, size]`, in 0..1."""
    label: Tensor = field(repr=False)
    """Class ids, uint8 `[size, size]`."""
    voxel: tuple[int, int] = (2, 0)
    """Axis of the stored scan, and the voxel on it at which the slice lies."""


@dataclass(frozen=True)
class Examples:
    """What a network is shown.

    Attributes:
        dataset: that the slices are of.
        slices: sorted by case and place.
        plane: a name of `slices.PLANES`; None of images and clips.
        spacing: of the pixels and between slices of the first scan, mm (pixels where that is unknown).
        scans: the cases that they are of.
        left_out: ids of labelled cases that cannot be shown beside them: images among volumes, or volumes among images.
    """

    dataset: DataSet
    slices: list[Slice]
    plane: str | None
    spacing: tuple[float, ...]
    scans: list[Case]
    left_out: list[str]

    @property
    def images(self) -> Tensor:
        """`[S, 1, size, size]`."""
        return torch.stack([one.image for one in self.slices])[:, None]

    @property
    def labels(self) -> Tensor:
        """Of each structure, uint8 `[K, S, 1, size, size]`."""
        ids = torch.stack([one.label for one in self.slices])[:, None]
        return torch.stack([(ids == structure.id).to(torch.uint8) for structure in self.dataset.labels])


def read_examples(
    folder: str | os.PathLike[str],
    size: int,
    *,
    plane: str | None = None,
    most: int = MOST,
    clip: Sequence[float] | None = None,
) -> Examples:
    """Read slices with their labels from a folder with images/ and labels/ (or another known layout).

    Raises:
        InputError: as `read_dataset` and `examples_of`, whose arguments these are.
    """
    return examples_of(read_dataset(folder), size, plane=plane, most=most, clip=clip)


def examples_of(
    dataset: DataSet,
    size: int,
    *,
    plane: str | None = None,
    most: int = MOST,
    clip: Sequence[float] | None = None,
    first: str | None = None,
    flat: bool | None = None,
) -> Examples:
    """Read slices with their labels of the cases of a data set.

    Of a case with `verified/` (docs/review.md) each slice counts that it covers whole, also one that shows nothing; of
    others each slice in which something is drawn. Where there are more than `most`, they are taken evenly: as many of
    each case, and of a case as far apart as can be. Each structure is in one of them at least. Volumes are shown, or
    images and clips: cases of the other kind are left out.

    Args:
        dataset: has them.
        size: pixels of a slice's longer side.
        plane: a name of `slices.PLANES`; None: that of the first volume's thickest slices.
        most: how many slices to take; one more for each structure that would not be in them.
        clip: as of `OntoSlicesd`.
        first: id of a case whose slices go before those of all others.
        flat: whether images and clips are shown; None: where they are more than volumes, and no plane is named.

    Raises:
        InputError: for scans of several channels, a plane of images alone, a folder in which fewer than two pixels of
            a structure are drawn, or a structure that is smaller than a pixel of the network.
    """
    folder = str(dataset.folder)
    if len(dataset.channels) > 1:
        raise InputError(f"{folder}: its scans have {len(dataset.channels)} channels; examples have one.")
    kinds: dict[bool, _Kind] = {}
    left_out: list[str] = []
    for case in dataset.cases:
        if case.label is None:
            continue
        scan = read_channels(case.image, 1)
        its = is_flat(scan)
        if flat is not None and its != flat:
            left_out.append(case.id)
            continue
        if its not in kinds:
            kinds[its] = _Kind(OntoSlicesd(size, None if its else plane or thickest(scan), clip), scan, dataset)
        kinds[its].add(case, scan)
    if not kinds:
        beside = (
            f" of a {'picture or clip' if flat else 'volume'}: {', '.join(left_out)} cannot be shown"
            if left_out
            else ""
        )
        raise InputError(f"{folder}: there is no label{beside}; draw each structure in one slice at least.")
    kind = _chosen(folder, kinds, plane, size)
    left_out += [case.id for other in kinds.values() if other is not kind for case in other.cases]
    kept = _some(kind.slices, most, len(dataset.labels), first)
    used = {item.case for item in kept}
    scans = [case for case in kind.cases if case.id in used]
    return Examples(dataset, kept, kind.onto.plane, kind.spacing, scans, left_out)


class _Kind:
    """The labelled cases that are volumes, or those that are images and clips."""

    def __init__(self, onto: OntoSlicesd, first: MetaTensor, dataset: DataSet) -> None:
        self.onto, self.first, self.dataset = onto, first, dataset
        self.cases: list[Case] = []
        self.slices: list[Slice] = []
        self.drawn = [0] * len(dataset.labels)

    @property
    def spacing(self) -> tuple[float, ...]:
        """Of the first one, mm, in the order of the slices."""
        return spacing_mm(OntoSlicesd(self.onto.size, self.onto.plane)({"image": self.first})["image"].affine)

    def add(self, case: Case, scan: MetaTensor) -> None:
        """Read the label of a case, and its slices that count."""
        about = self.dataset
        label = read_case_label(case, about.ids, like=scan, ignore=about.ignore, values=about.values or None)
        self.drawn = [n + int((label == s.id).sum()) for n, s in zip(self.drawn, about.labels, strict=True)]
        self.slices += _slices_of(case, scan, label, about, self.onto)
        self.cases.append(case)


def _chosen(folder: str, kinds: Mapping[bool, _Kind], plane: str | None, size: int) -> _Kind:
    """The volumes, or where there are more of them and no plane is named the images and clips."""
    images, volumes = (len(kinds[flat].cases) if flat in kinds else 0 for flat in (True, False))
    flat = images > volumes and not (plane and volumes)
    if flat and plane:
        raise InputError(f"{folder}: of images and clips there is no {plane} plane; leave --plane out.")
    _check_drawn(folder, kinds[flat], size)
    return kinds[flat]


def _slices_of(case: Case, scan: MetaTensor, label: MetaTensor, dataset: DataSet, onto: OntoSlicesd) -> list[Slice]:
    """The slices of a case that count."""
    put = onto({"image": scan, "label": label})
    images = padded(put["image"].as_tensor()[0].movedim(-1, 0), onto.size)
    numbers = put["label"].as_tensor()[0].movedim(-1, 0)
    known = (numbers != IGNORED).flatten(1).all(1)
    ids = padded(numbers.clamp_min(0), onto.size)
    wanted = known if case.verified is not None else known & (ids > 0).flatten(1).any(1)
    return [
        Slice(
            case.id, place, tuple(int((ids[place] == s.id).sum()) for s in dataset.labels),
            images[place].float().contiguous(), ids[place].to(torch.uint8).contiguous(),
            stored_place(scan, onto.plane, place),
        )
        for place in wanted.nonzero().flatten().tolist()
    ]  # fmt: skip


def _check_drawn(folder: str, kind: _Kind, size: int) -> None:
    found = kind.slices
    for number, structure in enumerate(kind.dataset.labels):
        count = kind.drawn[number]
        if count < _FEWEST_PIXELS:
            raise InputError(
                f"{folder}: its labels show {count or 'no'} pixel{'s' * (count != 1)} of "
                f"'{structure.name}': draw it in one slice at least, or leave it out of the labels."
            )
        if not any(one.areas[number] for one in found):
            covered = "no slice that verified/ covers whole shows" if not found else "no slice that counts shows"
            raise InputError(
                f"{folder}: {covered} '{structure.name}' at {size} x {size} pixels: verify whole slices in which it "
                "is, or crop the scans around it where it is smaller than a pixel."
            )


def _some(found: Sequence[Slice], most: int, structures: int, first: str | None) -> list[Slice]:
    """As many slices as were asked for, spread evenly, and one for each structure that is in none of them."""
    by_case: dict[str, list[Slice]] = {}
    for one in found:
        by_case.setdefault(one.case, []).append(one)
    counts = {case: len(own) for case, own in by_case.items()}
    own = min(counts.get(first, 0), most)
    others = _shares([0 if case == first else count for case, count in counts.items()], most - own)
    shares = [own if case == first else share for case, share in zip(counts, others, strict=True)]
    kept = [
        own[int((number + 0.5) * len(own) / share)]
        for own, share in zip(by_case.values(), shares, strict=True)
        for number in range(share)
    ]
    for number in range(structures):
        if not any(one.areas[number] for one in kept):
            kept.append(max(found, key=lambda one: one.areas[number]))
    return sorted(kept, key=lambda one: (one.case, one.place))


def _shares(counts: Sequence[int], most: int) -> list[int]:
    """How many of each case: one after another gets one more, until there are `most` or none is left."""
    shares = [0] * len(counts)
    while sum(shares) < most and shares != list(counts):
        for place, count in enumerate(counts):
            if shares[place] < count and sum(shares) < most:
                shares[place] += 1
    return shares
