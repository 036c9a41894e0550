"""KiTS, the Kidney Tumor Segmentation challenges: case_00000/imaging.nii.gz with segmentation.nii.gz beside it."""

from __future__ import annotations

import re
from pathlib import Path

from uncertaintyseg.data.cases import Case, Facts, Layout

_NAMES = {1: "kidney", 2: "tumor", 3: "cyst"}
_REGIONS = {"kidney and masses": [1, 2, 3], "masses": [2, 3], "tumor": [2]}
"""What the challenges of 2021 and 2023 score; that of 2019 has no cysts."""
_BELOW = ("", "dataset", "data")
_LABELS = ("segmentation.nii.gz", "aggregated_MAJ_seg.nii.gz")


def _find(folder: Path) -> list[Case]:
    for place in (folder / below for below in _BELOW):
        if not place.is_dir():
            continue
        cases = [path for path in place.iterdir() if re.fullmatch(r"case_\d+", path.name)]
        found = [_case(path) for path in cases if (path / "imaging.nii.gz").is_file()]
        if found:
            return found
    return []


def _case(path: Path) -> Case:
    label = next((path / name for name in _LABELS if (path / name).is_file()), None)
    return Case(path.name, path / "imaging.nii.gz", label)


def _facts(_folder: Path, _cases: list[Case]) -> Facts:
    return Facts(_NAMES, _REGIONS, modality="CT")


KITS = Layout("kits", "case_00000/imaging.nii.gz with case_00000/segmentation.nii.gz (KiTS)", _find, _facts)
