"""One's own data: images/ with labels/ beside it, in any format that is read."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.data.cases import Case, Layout
from uncertaintyseg.data.layouts.pairs import described_facts, pairs

IMAGES, LABELS = "images", "labels"


def _find(folder: Path) -> list[Case]:
    return pairs(folder, IMAGES, LABELS) if (folder / IMAGES).is_dir() else []


OWN = Layout("own", "images/ with labels/ beside it", _find, described_facts)
