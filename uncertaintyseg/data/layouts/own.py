"""One's own data: images/ with labels/ beside it, in any format that is read."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.data.layouts.cases import Case, Facts, Layout
from uncertaintyseg.data.layouts.pairs import pairs

IMAGES, LABELS = "images", "labels"


def _find(folder: Path) -> list[Case]:
    return pairs(folder, IMAGES, LABELS) if (folder / IMAGES).is_dir() else []


def _facts(_folder: Path, _cases: list[Case]) -> Facts:
    return Facts()


OWN = Layout("own", "images/ with labels/ beside it", _find, _facts)
