"""What every layout is made of: a case, and the volumes of a folder by their names."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uncertaintyseg.data.scan import IMAGE_SUFFIXES, SCAN_SUFFIXES
from uncertaintyseg.errors import InputError

_LABEL_ENDING = re.compile(r"[._-](seg|segmentation|label|labels|mask|gt)$", re.IGNORECASE)


@dataclass(frozen=True)
class Case:
    """One scan and, where there is one, its label."""

    id: str
    image: Path
    """A volume, or a folder with one DICOM series; of a scan of several channels the file of the first. Or an image, or
    a clip, which may be a folder of frames."""
    label: Path | None
    """A label volume; for TotalSegmentator the folder of one binary volume per structure. Of an image a mask, of a clip
    a folder of such."""
    raters: tuple[Path, ...] = ()
    """Label volumes of several people, `raters/<id>_<n>` beside images/, in the order of n."""
    verified: Path | None = None
    """A binary volume, `verified/<id>` beside images/: 1 where a person has looked; the label counts only there."""
    own_ids: bool = False
    """Whether its label holds the model's class ids, as those that were sent to a server, not a data set's numbers."""


@dataclass(frozen=True)
class Facts:
    """What a layout, or a file that came with it, says of its labels and channels.

    Attributes:
        names: structure by voxel value; several values of one name are one structure. Empty where nobody says.
        regions: voxel values by name of a region, where structures lie within each other.
        channels: names in order; empty where nobody says.
        modality: "CT", "MR" or "US", where that is known.
        ignore: voxel value that means "no verdict".
        notes: what people should know, in sentences.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    regions: Mapping[str, list[int]] = field(default_factory=dict)
    channels: tuple[str, ...] = ()
    modality: str | None = None
    ignore: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """A way to lay out a data set.

    Attributes:
        name: for programs.
        tree: how it looks, for a message.
        find: the cases of a folder that is laid out so, else none.
        facts: what it says of a folder and the cases found there.
    """

    name: str
    tree: str
    find: Callable[[Path], list[Case]]
    facts: Callable[[Path, list[Case]], Facts]


def volumes(folder: Path) -> dict[str, Path]:
    """The volumes of a folder, and the folders in it, by name without ending; hidden ones are passed over.

    Pictures and single DICOM files count where there is no volume: beside volumes they are previews.

    Raises:
        InputError: Two have the same name.
    """
    found: dict[str, Path] = {}
    if folder.is_dir():
        paths = sorted(p for p in folder.iterdir() if not p.name.startswith("."))
        suffixes = SCAN_SUFFIXES if not any(map(_is_volume, paths)) else IMAGE_SUFFIXES
        for path in paths:
            suffix = suffix_of(path) if path.name.lower().endswith(suffixes) else ""
            if suffix or path.is_dir():
                add(found, path.name[: len(path.name) - len(suffix)], path)
    return found


def suffix_of(path: Path) -> str:
    """Its ending, where that is one of a scan's; else nothing."""
    return next((s for s in SCAN_SUFFIXES if path.name.lower().endswith(s)), "")


def _is_volume(path: Path) -> bool:
    return path.name.lower().endswith(IMAGE_SUFFIXES)


def add(found: dict[str, Path], case_id: str, path: Path) -> None:
    """Add a file under an id that none other has.

    Raises:
        InputError: One has.
    """
    if case_id in found:
        raise InputError(f"{path}: {found[case_id]} has the same case id; keep one of the two.")
    found[case_id] = path


def by_scan(labels: Mapping[str, Path], scans: Collection[str]) -> dict[str, Path]:
    """Labels by the id of their scan, whose name they have, perhaps with an ending such as _seg.

    Raises:
        InputError: Two are of one scan.
    """
    found: dict[str, Path] = {}
    for name, path in labels.items():
        scan = name if name in scans else without_ending(name)
        if scan in scans:
            add(found, scan, path)
    return found


def without_ending(name: str) -> str:
    """A label's name without what tells that it is one."""
    return _LABEL_ENDING.sub("", name)
