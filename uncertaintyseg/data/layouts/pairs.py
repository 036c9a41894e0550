"""A folder of scans with a folder of labels beside it: what `own` and `nnunet` share."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from uncertaintyseg.data.layouts.cases import Case, add, by_scan, volumes, without_ending
from uncertaintyseg.errors import InputError

CHANNEL = re.compile(r"(.+)_(\d{4})")
"""How nnU-Net names the files of a scan: its id, and the number of the channel."""


def pairs(folder: Path, images: str, labels: str) -> list[Case]:
    """The scans in one folder, each with its label from another or from beside it, its raters and what is verified.

    Raises:
        InputError: Two scans, labels or raters of one id, or a volume in raters/ or verified/ that is of no scan.
    """
    scans, drawn = volumes(folder / images), volumes(folder / labels)
    for name in [name for name in scans if without_ending(name) in scans.keys() - {name}]:
        add(drawn, name, scans.pop(name))  # a label beside its scan
    scans = _first_channels(scans, drawn.keys() | {without_ending(name) for name in drawn})
    found = by_scan(drawn, scans.keys())
    cases = [Case(i, path, found.get(i)) for i, path in scans.items()]
    return _with_verified(_with_raters(cases, folder / "raters"), folder / "verified")


def _with_verified(cases: list[Case], folder: Path) -> list[Case]:
    """Cases with what people have looked at; strict, since a mask lost to a typing error would let a draft count."""
    masks, labelled = volumes(folder), {case.id for case in cases if case.label is not None}
    if strange := sorted(masks.keys() - labelled):
        raise InputError(
            f"{masks[strange[0]]}: verified/ holds <id>, where a person has looked at the label of the scan <id> in "
            "images/, and there is no such label; rename this volume, or remove it."
        )
    return [replace(case, verified=masks.get(case.id)) for case in cases]


def _first_channels(images: dict[str, Path], labels: set[str]) -> dict[str, Path]:
    """One file a scan, where labels tell that scans are named as nnU-Net has it: <id>_0000, <id>_0001, ... of <id>."""
    named = {i: CHANNEL.fullmatch(i) for i in images}
    if not all(named.values()) or labels & images.keys():
        return images
    first = {match[1]: images[i] for i, match in named.items() if match[2] == "0000"}
    return first if labels & first.keys() else images


def _with_raters(cases: list[Case], folder: Path) -> list[Case]:
    """Cases with their raters; strict, since a rater lost to a typing error would change what is measured."""
    raters: dict[str, dict[int, Path]] = {case.id: {} for case in cases}
    for name, path in volumes(folder).items():
        # the last number is the rater's, ids may end in one too
        match = re.fullmatch(r"(.+)_([1-9]\d*)(?:\.seg)?", name)
        if match is None or match[1] not in raters:
            raise InputError(
                f"{path}: raters/ holds <id>_<n> with n = 1, 2, ..., one for each rater of a scan <id> in images/; "
                "rename this volume, or remove it."
            )
        raters[match[1]][int(match[2])] = path
    return [replace(case, raters=tuple(path for _, path in sorted(raters[case.id].items()))) for case in cases]
