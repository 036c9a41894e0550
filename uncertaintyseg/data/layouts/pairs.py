"""A folder of scans with a folder of labels beside it: what `own` and `nnunet` share."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from uncertaintyseg.data.cases import Case, Facts, add, by_scan, suffix_of, volumes, without_ending
from uncertaintyseg.data.channels import channel_files
from uncertaintyseg.data.dataset_json import read_description
from uncertaintyseg.data.scan import count_volumes
from uncertaintyseg.errors import InputError

CHANNEL = re.compile(r"(.+)_(\d{4})")
"""How nnU-Net names the files of a scan: its id, and the number of the channel."""


def pairs(folder: Path, images: str, labels: str, *, numbered: bool = False) -> list[Case]:
    """The scans in one folder, each with its label from another or from beside it, its raters and what is verified.

    Args:
        folder: of the data set.
        images: name of the folder of the scans.
        labels: name of the folder of the labels.
        numbered: whether somebody says that scans are named by channel; else names and labels tell.

    Raises:
        InputError: Two scans, labels or raters of one id, a volume in raters/ or verified/ that is of no scan, or only
            some scans are named by channel.
    """
    scans, drawn = volumes(folder / images), volumes(folder / labels)
    for name in [name for name in scans if without_ending(name) in scans.keys() - {name}]:
        add(drawn, name, scans.pop(name))  # a label beside its scan
    scans = _first_channels(scans, drawn.keys() | {without_ending(name) for name in drawn}, numbered)
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


def is_numbered(case: Case) -> bool:
    """Whether its scan is named by channel."""
    return _stem(case.image).endswith("_0000") and _stem(case.image) != case.id


def described_facts(folder: Path, cases: list[Case]) -> Facts:
    """What a dataset.json says, with the channels that the scans have.

    Raises:
        InputError: as `read_description`, or scans do not have the same channels.
    """
    facts = read_description(folder).facts
    counts = channel_counts(cases)
    usual = len(facts.channels) or Counter(counts.values()).most_common(1)[0][0]
    for case in cases:
        if counts[case.id] != usual:
            said = "dataset.json names" if facts.channels else "most others have"
            raise InputError(
                f"{case.image}: case {case.id} has {_channels(counts[case.id])}, {said} {usual}: add what is missing, "
                "or leave the case out."
            )
        if usual > 1:
            channel_files(case.image, usual)
    unnamed = tuple(f"channel {number}" for number in range(1, usual + 1)) if usual > 1 else ()
    return replace(facts, channels=facts.channels or unnamed)


def channel_counts(cases: Sequence[Case]) -> dict[str, int]:
    """How many channels each case's scan has, by id."""
    folders = {case.image.parent for case in cases if is_numbered(case)}
    numbered = Counter(
        (folder, match[1]) for folder in folders for name in volumes(folder) if (match := CHANNEL.fullmatch(name))
    )
    return {
        case.id: numbered[case.image.parent, _stem(case.image).removesuffix("_0000")]
        if is_numbered(case)
        else count_volumes(case.image)
        for case in cases
    }


def _stem(path: Path) -> str:
    return path.name[: len(path.name) - len(suffix_of(path))]


def _channels(count: int) -> str:
    return "1 channel" if count == 1 else f"{count} channels"


def _first_channels(images: dict[str, Path], labels: set[str], numbered: bool) -> dict[str, Path]:
    """One file a scan, where they are named as nnU-Net has it: <id>_0000, <id>_0001, ... of <id>."""
    named = {i: CHANNEL.fullmatch(i) for i in images}
    plain = [images[i] for i, match in named.items() if match is None]
    if numbered and 0 < len(plain) < len(images):
        raise InputError(f"{plain[0]}: has no number of a channel, others have: name it <case>_0000, or remove it.")
    if plain or labels & images.keys():
        return images
    first = {match[1]: images[i] for i, match in named.items() if match[2] == "0000"}
    return first if numbered or labels & first.keys() else images


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
