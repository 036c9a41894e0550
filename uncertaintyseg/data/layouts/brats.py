"""BraTS, the Brain Tumor Segmentation challenges: a folder a case, with a file a sequence and the segmentation."""

from __future__ import annotations

from pathlib import Path

from uncertaintyseg.data.cases import Case, Facts, Layout, add, suffix_of
from uncertaintyseg.data.channels import SEQUENCES, channel_files

_ENHANCING = "enhancing tumor"
_NAMES = {1: "necrotic core", 2: "edema", 3: _ENHANCING}
_OLD = {1: "necrotic core", 2: "edema", 4: _ENHANCING}
"""The challenges until 2021, whose names end in _t1: there is no 3. In that of 2024 a 4 is the resection cavity."""
_CHANNELS = {"_t1": ("T1", "T1ce", "T2", "FLAIR"), "-t1n": ("T1n", "T1c", "T2w", "T2-FLAIR")}


def _find(folder: Path) -> list[Case]:
    found: dict[str, Path] = {}
    for first, second, *_ in SEQUENCES:
        for path in folder.rglob(f"*{first}.nii*"):
            case = _id(path, first)
            if case and not path.name.startswith(".") and path.with_name(case + second + suffix_of(path)).is_file():
                add(found, case, path)
    return [Case(case, path, _label(case, path)) for case, path in found.items()]


def _id(path: Path, ending: str) -> str:
    stem = path.name[: len(path.name) - len(suffix_of(path))]
    return stem.removesuffix(ending) if stem.endswith(ending) else ""


def _label(case: str, path: Path) -> Path | None:
    """The segmentation beside the sequences, whose name is joined as theirs are."""
    joint = path.name[len(case)]
    places = (path.with_name(f"{case}{joint}seg{suffix}") for suffix in (".nii.gz", ".nii"))
    return next((place for place in places if place.is_file()), None)


def _facts(_folder: Path, cases: list[Case]) -> Facts:
    for case in cases:
        channel_files(case.image, len(SEQUENCES[0]))
    first, *others = {SEQUENCES[case.image.name[len(case.id)] == "-"][0] for case in cases}
    names = {**_OLD, **_NAMES} if others else (_OLD if first == SEQUENCES[0][0] else _NAMES)
    values = {name: [value for value, n in names.items() if n == name] for name in names.values()}
    core = values["necrotic core"] + values[_ENHANCING]
    regions = {"whole tumor": sorted(core + values["edema"]), "tumor core": core, _ENHANCING: values[_ENHANCING]}
    return Facts(names, regions, _CHANNELS[first], "MR")


BRATS = Layout("brats", "<case>/<case>_t1, _t1ce, _t2, _flair with _seg, or -t1n, ... (BraTS)", _find, _facts)
