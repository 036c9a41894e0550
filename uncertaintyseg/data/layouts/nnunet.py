"""nnU-Net's and the Medical Segmentation Decathlon's folders: imagesTr/ with labelsTr/ and a dataset.json."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from uncertaintyseg.data.cases import Case, Layout
from uncertaintyseg.data.channels import channel_files
from uncertaintyseg.data.dataset_json import NAME, Description, lists_files, read_description
from uncertaintyseg.data.layouts.pairs import described_facts, is_numbered, pairs
from uncertaintyseg.errors import InputError

IMAGES, LABELS = "imagesTr", "labelsTr"


def _find_nnunet(folder: Path) -> list[Case]:
    said = _description(folder)
    if said.files:
        return [_listed(folder, i, images, label) for i, (images, label) in said.files.items()]
    cases = pairs(folder, IMAGES, LABELS, numbered=said.numbered) if (folder / IMAGES).is_dir() else []
    return cases if any(is_numbered(case) for case in cases) else []


def _description(folder: Path) -> Description:
    """What dataset.json says; nothing where it is none of this kind, which only matters to who asks for names."""
    try:
        return read_description(folder)
    except InputError:
        if lists_files(folder):
            raise
        return Description()


def _find_decathlon(folder: Path) -> list[Case]:
    return pairs(folder, IMAGES, LABELS) if (folder / IMAGES).is_dir() else []


def _listed(folder: Path, case_id: str, images: Sequence[Path], label: Path | None) -> Case:
    """A case whose files dataset.json names; those of its channels must still be found by the first one's name."""
    absent = [path for path in (*images, *([] if label is None else [label])) if not path.exists()]
    if absent:
        raise InputError(f"{folder / NAME}: case {case_id}: there is no {absent[0]}.")
    try:
        alike = channel_files(images[0], len(images)) == list(images)
    except InputError:
        alike = False
    if not alike:
        raise InputError(
            f"{folder / NAME}: case {case_id}: name its channels alike and lay them side by side: <case>_0000, "
            "<case>_0001, ..."
        )
    return Case(case_id, images[0], label)


NNUNET = Layout(
    "nnunet", "imagesTr/<case>_0000 with labelsTr/<case> and dataset.json (nnU-Net)", _find_nnunet, described_facts
)
DECATHLON = Layout("decathlon", "imagesTr/ with labelsTr/ (Decathlon)", _find_decathlon, described_facts)
