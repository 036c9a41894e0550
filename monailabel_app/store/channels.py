"""Which files of a studies folder are the channels of one scan: `a_0000.nii.gz`, `a_0001.nii.gz`, as nnU-Net has them.

Others number their scans that way. So files are one case only where a model of this server takes exactly so many
channels, and none of them has a label as a case of its own; once they are a case they stay one, whatever models come
and go.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from uncertaintyseg.data.images import is_picture
from uncertaintyseg.data.scan import IMAGE_SUFFIXES

_CHANNEL = re.compile(r"(.+)_(\d{4})")
FIRST = "_0000"


def joined(
    found: Mapping[Path, str], counts: Collection[int], labelled: Collection[str], cases: Collection[str]
) -> dict[Path, str]:
    """The scans with those of one case made one: the first channel's file, under the name without its number.

    Args:
        found: scans with their ids.
        counts: of channels that some model takes.
        labelled: ids of what has labels: these stay by themselves.
        cases: ids of scans of several channels that are known.
    """
    numbered: dict[tuple[Path, str], dict[int, Path]] = defaultdict(dict)
    for path, name in found.items():
        if path.is_file() and not is_picture(path) and (match := _CHANNEL.fullmatch(name)):
            numbered[path.parent, match[1]][int(match[2])] = path
    left, taken = dict(found), set(found.values())
    for (_, case), files in numbered.items():
        is_one = len(files) in counts and labelled.isdisjoint(found[path] for path in files.values())
        whole = len(files) > 1 and sorted(files) == list(range(len(files)))
        if whole and case not in taken and (is_one or case in cases):
            for number, path in files.items():
                del left[path]
                if number == 0:
                    left[path] = case
    return left


def cases_of(images: Mapping[str, tuple[str, Any]]) -> set[str]:
    """Ids of the images whose file is the first of several channels; by the records, with the file of each."""
    return {image for image, (file, _) in images.items() if is_case(image, file)}


def is_case(image: str, file: str) -> bool:
    """Whether an image has several channels, by its id and the file of its record."""
    name = PurePosixPath(file).name
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")
    stem = name[: len(name) - len(suffix)]
    return stem.endswith(FIRST) and not image.endswith(stem)
