"""nnU-Net's and the Medical Segmentation Decathlon's folders: imagesTr/ with labelsTr/ and a dataset.json."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.data.layouts.cases import Case, Facts, Layout, suffix_of
from uncertaintyseg.data.layouts.pairs import pairs

IMAGES, LABELS = "imagesTr", "labelsTr"


def _find_nnunet(folder: Path) -> list[Case]:
    cases = _find(folder)
    return cases if any(case.id != name_of(case.image) for case in cases) else []


def _find(folder: Path) -> list[Case]:
    return pairs(folder, IMAGES, LABELS) if (folder / IMAGES).is_dir() else []


def name_of(path: Path) -> str:
    """Name of a volume without its ending."""
    return path.name[: len(path.name) - len(suffix_of(path))]


def _facts(_folder: Path, _cases: list[Case]) -> Facts:
    return Facts()


NNUNET = Layout("nnunet", "imagesTr/<case>_0000 with labelsTr/ and dataset.json (nnU-Net)", _find_nnunet, _facts)
DECATHLON = Layout("decathlon", "imagesTr/ with labelsTr/ (Decathlon)", _find, _facts)
