"""Folders of cases, as public data sets lay them out, and the committed splits."""

from __future__ import annotations

import json
import os
import random
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from monai.data import MetaTensor

from uncertaintyseg.data.anatomy import match_names
from uncertaintyseg.data.scan import IMAGE_SUFFIXES, read_label
from uncertaintyseg.data.segments import class_ids, read_segments, segments_in
from uncertaintyseg.errors import InputError

SPLIT_NAMES = ("train", "validation", "calibration", "test")
DATA_VARIABLE = "UNCERTAINTYSEG_DATA"
"""Environment variable naming the folder that holds real data sets."""

IGNORED = -1
"""In a label that was read, voxels of which nobody said what they are: they count for nothing."""
_IGNORED_NAME = "ignore"  # nnU-Net's
_BESIDE = (("images", "labels"), ("imagesTr", "labelsTr"))
_LABEL_ENDING = re.compile(r"[._-](seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)
_SPLITS = Path(__file__).parent / "splits"
_CHECKOUT = Path(__file__).parents[2]
_TOTALSEGMENTATOR_IMAGES = ("ct.nii.gz", "mri.nii.gz")
_EXPECTED = (
    "images/ with labels/ beside it, imagesTr/ with labelsTr/ (Decathlon, nnU-Net), <case>/ct.nii.gz with "
    "<case>/segmentations/*.nii.gz (TotalSegmentator), or volume-N.nii with segmentation-N.nii (LiTS)"
)


@dataclass(frozen=True)
class Case:
    """One scan and, where there is one, its label."""

    id: str
    image: Path
    """A volume, or a folder with one DICOM series."""
    label: Path | None
    """A label volume; for TotalSegmentator the folder of one binary volume per structure."""
    raters: tuple[Path, ...] = ()
    """Label volumes of several people, `raters/<id>_<n>` beside images/, in the order of n."""


def read_cases(folder: str | os.PathLike[str]) -> list[Case]:
    """Find the cases of a data set, sorted by id; hidden files and the Finder's `._` files are ignored.

    Raises:
        InputError: No such folder, no layout that is known, two scans of one id, or a volume in raters/ that is not
            named after a scan and the number of a rater.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder. Expected {_EXPECTED}.")
    for finder in (_image_and_label_folders, _totalsegmentator, _lits):
        cases = finder(folder)
        if cases:
            return sorted(cases, key=lambda case: case.id)
    raise InputError(f"{folder}: no scans in a known layout. Expected {_EXPECTED}.")


def with_labels(cases: Sequence[Case], folder: str | os.PathLike[str]) -> list[Case]:
    """The cases with the labels of a folder: a volume, or a folder of binary volumes, by the case's id.

    Raises:
        InputError: No such folder, or no label in it is named after a case.
    """
    labels = _by_scan(_volumes(Path(folder)), {case.id for case in cases})
    if not labels:
        example = f"{cases[0].id}.nii.gz" if cases else "<case>.nii.gz"
        raise InputError(f"{folder}: holds no label of these cases; name them after the scans, such as {example}.")
    return [replace(case, label=labels.get(case.id)) for case in cases]


def read_case_label(
    case: Case, ids: Mapping[str, int], *, like: MetaTensor | None = None, ignore: int | None = None
) -> MetaTensor:
    """Read the label of a case, merging a folder of binary volumes into one.

    Args:
        case: A case with a label.
        ids: Name to class id; of a folder the file of each name is read (`anatomy.match_names`), and later names win
            where structures overlap. In a volume with names (`segments`) these count, else its numbers are the ids.
        like: The scan, whose grid the label must share.
        ignore: Id that marks voxels as not labelled, in a volume; they become `IGNORED`. A segment may be named so.

    Returns:
        int64 `[1, X, Y, Z]`; of a folder `meta["unmatched"]` lists the volumes that hold none of the structures.

    Raises:
        InputError: There is no label, or as `read_label`.
    """
    if case.label is None:
        raise InputError(f"{case.image}: case {case.id} has no label; put one of the same name into labels/.")
    if not case.label.is_dir():
        if segments := segments_in(case.label):
            named = ids if ignore is None else {_IGNORED_NAME: IGNORED, **ids}
            return read_segments(case.label, segments, class_ids(segments, named), like=like)
        if ignore is None:
            return read_label(case.label, ids.values(), like=like)
        label = read_label(case.label, [*ids.values(), ignore], like=like)
        label[label == ignore] = IGNORED
        return label
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


def volumes_in(folder: Path) -> dict[str, Path]:
    """The volumes of a folder by their name without its ending."""
    return {name: path for name, path in _volumes(folder).items() if path.is_file()}


def read_case_raters(case: Case, ids: Mapping[str, int], *, like: MetaTensor | None = None) -> Iterator[MetaTensor]:
    """Read what each rater of a case drew, one after another.

    Args:
        case: of a data set; one without raters gives nothing.
        ids: Name to class id.
        like: The scan, whose grid the raters' labels must share.

    Returns:
        int64 `[1, X, Y, Z]` each.

    Raises:
        InputError: As `read_label`.
    """
    return (read_case_label(replace(case, label=path), ids, like=like) for path in case.raters)


def read_split(name_or_path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read case ids by part: a committed split by name (`msd_hippocampus`, `phantom`), or any such JSON file.

    Returns:
        Keys train, validation, calibration, test.

    Raises:
        InputError: No such split, not JSON, a part is missing, or a case occurs twice.
    """
    path = _SPLITS / f"{name_or_path}.json"
    if not path.is_file():
        path = Path(name_or_path)
    try:
        split = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in _SPLITS.glob("*.json")))
        raise InputError(f"{name_or_path}: no such split; known are {known}, or give a JSON file.") from error
    except ValueError as error:
        raise InputError(f"{path}: not a JSON file ({error}).") from error
    if not (
        isinstance(split, dict)
        and set(split) == set(SPLIT_NAMES)
        and all(isinstance(part, list) and all(isinstance(i, str) for i in part) for part in split.values())
    ):
        raise InputError(f"{path}: a split has exactly the keys {', '.join(SPLIT_NAMES)}, each a list of case ids.")
    ids = [case_id for part in split.values() for case_id in part]
    twice = sorted({case_id for case_id in ids if ids.count(case_id) > 1})
    if twice:
        raise InputError(f"{path}: {', '.join(twice)} occurs more than once; the parts must not share cases.")
    return split


def training_parts(cases: Sequence[Case], split: str | os.PathLike[str] | None) -> tuple[list[Case], list[Case]]:
    """Choose the labelled cases to train and to validate on.

    Args:
        cases: Of a data set.
        split: As for `read_split`; None holds out a random 15 %, the same at every call.

    Raises:
        InputError: The split names a case that is not there or has no label, or fewer than two cases have one.
    """
    labelled = {case.id: case for case in cases if case.label is not None}
    if split is None:
        if len(labelled) < 2:
            raise InputError("training needs at least two labelled cases, one of them to validate on.")
        ids = sorted(labelled)
        random.Random(0).shuffle(ids)
        held_out = max(1, round(0.15 * len(ids)))
        return [labelled[i] for i in sorted(ids[held_out:])], [labelled[i] for i in sorted(ids[:held_out])]
    parts = read_split(split)
    absent = [i for part in ("train", "validation") for i in parts[part] if i not in labelled]
    if absent:
        raise InputError(f"split '{split}' names {len(absent)} cases without a label in DATA, first '{absent[0]}'.")
    return [labelled[i] for i in parts["train"]], [labelled[i] for i in parts["validation"]]


def find_real_data(name: str) -> Path | None:
    """Folder of a real data set: under `$UNCERTAINTYSEG_DATA`, else in `shared/data` beside the checkout."""
    places = [_CHECKOUT.parent / "shared" / "data"]
    if os.environ.get(DATA_VARIABLE):
        places.insert(0, Path(os.environ[DATA_VARIABLE]))
    return next((place / name for place in places if (place / name).is_dir()), None)


def labels_of_no_scan(folder: str | os.PathLike[str]) -> list[Path]:
    """The volumes beside the scans of a data set, in labels/ or labelsTr/, that no scan has for its label."""
    for images, labels in _BESIDE:
        if (Path(folder) / images).is_dir():
            used = {case.label for case in _image_and_label_folders(Path(folder))}
            return sorted(path for path in _volumes(Path(folder) / labels).values() if path not in used)
    return []


def _image_and_label_folders(folder: Path) -> list[Case]:
    for images, labels in _BESIDE:
        if (folder / images).is_dir():
            scans, drawn = _volumes(folder / images), _volumes(folder / labels)
            for name in [name for name in scans if _without_ending(name) in scans.keys() - {name}]:
                _add(drawn, name, scans.pop(name))  # a label beside its scan
            scans = _first_channels(scans, drawn.keys() | {_without_ending(name) for name in drawn})
            by_id = _by_scan(drawn, scans.keys())
            cases = [Case(i, path, by_id.get(i)) for i, path in scans.items()]
            return _with_raters(cases, folder / "raters")
    return []


def _by_scan(labels: Mapping[str, Path], scans: Collection[str]) -> dict[str, Path]:
    """Labels by the id of their scan, whose name they have, perhaps with an ending such as _seg."""
    found: dict[str, Path] = {}
    for name, path in labels.items():
        scan = name if name in scans else _without_ending(name)
        if scan in scans:
            _add(found, scan, path)
    return found


def _without_ending(name: str) -> str:
    return _LABEL_ENDING.sub("", name)


def _first_channels(images: dict[str, Path], labels: set[str]) -> dict[str, Path]:
    """One file a scan, where labels tell that scans are named as nnU-Net has it: <id>_0000, <id>_0001, ... of <id>."""
    named = {i: re.fullmatch(r"(.+)_(\d{4})", i) for i in images}
    if not all(named.values()) or labels & images.keys():
        return images
    first = {match[1]: images[i] for i, match in named.items() if match[2] == "0000"}
    return first if labels & first.keys() else images


def _with_raters(cases: list[Case], folder: Path) -> list[Case]:
    """Cases with their raters; strict, since a rater lost to a typing error would change what is measured."""
    raters: dict[str, dict[int, Path]] = {case.id: {} for case in cases}
    for name, path in _volumes(folder).items():
        match = re.fullmatch(
            r"(.+)_([1-9]\d*)(?:\.seg)?", name
        )  # the last number is the rater's, ids may end in one too
        if match is None or match[1] not in raters:
            raise InputError(
                f"{path}: raters/ holds <id>_<n> with n = 1, 2, ..., one for each rater of a scan <id> in images/; "
                "rename this volume, or remove it."
            )
        raters[match[1]][int(match[2])] = path
    return [replace(case, raters=tuple(path for _, path in sorted(raters[case.id].items()))) for case in cases]


def _totalsegmentator(folder: Path) -> list[Case]:
    cases = []
    for case in (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        image = next((case / name for name in _TOTALSEGMENTATOR_IMAGES if (case / name).is_file()), None)
        if image is not None:
            structures = case / "segmentations"
            cases.append(Case(case.name, image, structures if structures.is_dir() else None))
    return cases


def _lits(folder: Path) -> list[Case]:
    """LiTS comes in two batches with separate label folders, so pairs are matched by number at any depth."""
    found: dict[str, dict[str, Path]] = {"volume": {}, "segmentation": {}}
    for path in folder.rglob("*-*.nii*"):
        match = re.fullmatch(r"(volume|segmentation)-(\d+)\.nii(\.gz)?", path.name)
        if match:
            _add(found[match[1]], match[2], path)
    return [Case(f"volume-{n}", path, found["segmentation"].get(n)) for n, path in found["volume"].items()]


def _volumes(folder: Path) -> dict[str, Path]:
    volumes: dict[str, Path] = {}
    if folder.is_dir():
        for path in (p for p in folder.iterdir() if not p.name.startswith(".")):
            suffix = next((s for s in IMAGE_SUFFIXES if path.name.lower().endswith(s)), "")
            if suffix or path.is_dir():
                _add(volumes, path.name[: len(path.name) - len(suffix)], path)
    return volumes


def _add(volumes: dict[str, Path], case_id: str, path: Path) -> None:
    if case_id in volumes:
        raise InputError(f"{path}: {volumes[case_id]} has the same case id; keep one of the two.")
    volumes[case_id] = path
