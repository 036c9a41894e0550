"""TotalSegmentator's data set: a folder a case, with a binary volume for each structure."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.data.cases import Case, Facts, Layout, volumes

_IMAGES = {"ct.nii.gz": "CT", "mri.nii.gz": "MR"}


def _find(folder: Path) -> list[Case]:
    cases = []
    for case in (p for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")):
        image = next((case / name for name in _IMAGES if (case / name).is_file()), None)
        if image is not None:
            structures = case / "segmentations"
            cases.append(Case(case.name, image, structures if structures.is_dir() else None))
    return cases


def _facts(_folder: Path, cases: list[Case]) -> Facts:
    names = sorted({name for case in cases if case.label for name in volumes(case.label)})
    modalities = {_IMAGES[case.image.name] for case in cases}
    return Facts(dict(enumerate(names, start=1)), modality=modalities.pop() if len(modalities) == 1 else None)


TOTALSEGMENTATOR = Layout(
    "totalsegmentator", "<case>/ct.nii.gz with <case>/segmentations/*.nii.gz (TotalSegmentator)", _find, _facts
)
