"""LiTS, the Liver Tumor Segmentation Benchmark: volume-N.nii with segmentation-N.nii."""

from __future__ import annotations

import re
from pathlib import Path

from uncertaintyseg.data.cases import Case, Facts, Layout, add

_NAMES = {1: "liver", 2: "tumor"}


def _find(folder: Path) -> list[Case]:
    """LiTS comes in two batches with separate label folders, so pairs are matched by number at any depth."""
    found: dict[str, dict[str, Path]] = {"volume": {}, "segmentation": {}}
    for path in folder.rglob("*-*.nii*"):
        match = re.fullmatch(r"(volume|segmentation)-(\d+)\.nii(\.gz)?", path.name)
        if match:
            add(found[match[1]], match[2], path)
    return [Case(f"volume-{n}", path, found["segmentation"].get(n)) for n, path in found["volume"].items()]


def _facts(_folder: Path, _cases: list[Case]) -> Facts:
    return Facts(_NAMES, modality="CT")


LITS = Layout("lits", "volume-N.nii with segmentation-N.nii (LiTS)", _find, _facts)
