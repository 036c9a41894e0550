"""BTCV, Multi-Atlas Labeling Beyond the Cranial Vault: img/img0001 with label/label0001."""

from __future__ import annotations

import re
from pathlib import Path

from uncertaintyseg.data.cases import Case, Facts, Layout, add, volumes

_NAMES = (
    "spleen", "kidney_right", "kidney_left", "gallbladder", "esophagus", "liver", "stomach", "aorta",
    "inferior_vena_cava", "portal_vein_and_splenic_vein", "pancreas", "adrenal_gland_right", "adrenal_gland_left",
)  # fmt: skip
"""In the order of their values, 1 to 13, as the challenge published them."""
_BELOW = ("", "Training", "RawData/Training")


def _find(folder: Path) -> list[Case]:
    place = next((folder / below for below in _BELOW if (folder / below / "img").is_dir()), None)
    if place is None:
        return []
    labels = _by_number(place / "label", "label")
    return [Case(f"img{n}", path, labels.get(n)) for n, path in _by_number(place / "img", "img").items()]


def _by_number(folder: Path, word: str) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for name, path in volumes(folder).items():
        if match := re.fullmatch(rf"{word}(\d+)", name):
            add(found, match[1], path)
    return found


def _facts(_folder: Path, _cases: list[Case]) -> Facts:
    return Facts(dict(enumerate(_NAMES, start=1)), modality="CT")


BTCV = Layout("btcv", "img/img0001 with label/label0001 (BTCV)", _find, _facts)
