"""A data set as it is to be learnt from: its cases, what its labels are called, and what its channels are."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from uncertaintyseg.data.anatomy import known, match_names
from uncertaintyseg.data.cases import Facts
from uncertaintyseg.data.images import frames_in
from uncertaintyseg.data.layouts import Case, find_layout, volumes_in
from uncertaintyseg.data.naming import facts_of_files
from uncertaintyseg.data.palette import rgb_of
from uncertaintyseg.data.writing import MAX_LABEL
from uncertaintyseg.errors import InputError

_ASIDE = ("background", "ignore")
"""Names that are none of a structure: nnU-Net's, and what --labels may call a value that is not to be learnt."""

_UNUSABLE = re.compile(r'^[$@%]|[\x00-\x1f\x7f/\\:*?"<>|]')
"""In a name: it becomes one of files (a map of each structure), and MONAI's bundles run what begins with $, @ or %."""
_LONGEST = 80


@dataclass(frozen=True)
class Structure:
    """One structure of a data set; a `wire.Label` of the same fields is made of it."""

    id: int
    name: str
    rgb: tuple[int, int, int]
    snomed: str | None = None
    modifier: str | None = None


@dataclass(frozen=True)
class DataSet:
    """What a folder holds.

    Attributes:
        folder: where it lies.
        layout: name of its layout (`layouts.LAYOUTS`).
        cases: sorted by id.
        labels: its structures, with ids 1, 2, 3, ...
        values: voxel value in the label files -> our id, 0 for what is not to be learnt; empty where they are the same.
        channels: names of a scan's channels, in order; ["image"] for one without a name.
        modality: "CT", "MR" or "US", where that is known.
        ignore: voxel value in the files that means "no verdict".
        regions: our ids by name of a region, where structures lie within each other: what is learnt are the parts
            without overlap.
        notes: what people should know, in sentences.
    """

    folder: Path
    layout: str
    cases: list[Case]
    labels: list[Structure]
    values: dict[int, int]
    channels: list[str]
    modality: str | None
    ignore: int | None
    regions: dict[str, list[int]]
    notes: tuple[str, ...] = ()

    @property
    def ids(self) -> dict[str, int]:
        """Our id by name of a structure."""
        return {label.name: label.id for label in self.labels}


def read_dataset(
    folder: str | os.PathLike[str],
    *,
    structures: Sequence[str] | None = None,
    labels: Mapping[int, str] | None = None,
) -> DataSet:
    """Find out what a folder holds.

    Names come from `labels`, else from the layout (a dataset.json, a benchmark's publication, a folder's files), else
    from the segments of the label files; without any a structure is called "structure 1" by its voxel value.

    Args:
        folder: of a known layout.
        structures: names of those to learn, in order; the others are background. By default all.
        labels: name by voxel value instead of what the files say; "background" is not to be learnt, "ignore" means
            that nobody said what is there.

    Raises:
        InputError: As `read_cases`; no case has a label, or what the files say contradicts itself.
    """
    folder = Path(folder)
    layout, cases = find_layout(folder)
    if not any(case.label for case in cases):
        raise InputError(
            f"{folder}: none of its {len(cases)} cases has a label, so there is nothing to learn; put labels named "
            f"after the scans beside them ({layout.tree})."
        )
    facts = layout.facts(folder, cases)
    named = labels or facts.names
    if not named:
        found = facts_of_files(cases, facts.ignore)
        named, facts = found.names, Facts(
            found.names, {}, facts.channels, facts.modality, found.ignore, (*facts.notes, *found.notes)
        )  # fmt: skip
    if structures is not None:
        named = _chosen(folder, named, structures)
    names, values = _numbered(folder, named)
    _check_folders(cases, names)
    ignored = [value for value, name in named.items() if name == "ignore"]
    return DataSet(
        folder,
        layout.name,
        cases,
        [_structure(number, name) for number, name in enumerate(names, start=1)],
        values,
        _channels(folder, facts.channels),
        facts.modality,
        ignored[0] if ignored else facts.ignore,
        {} if labels else _regions(facts.regions, values),
        facts.notes,
    )


def _chosen(folder: Path, named: Mapping[int, str], structures: Sequence[str]) -> dict[int, str]:
    """Names with `background` for what was not chosen, the chosen ones first and in their order."""
    ours = match_names(dict.fromkeys(named.values()), structures)
    absent = [name for name in structures if name not in ours.values()]
    if absent:
        some = ", ".join(sorted({name for name in named.values() if name not in _ASIDE})[:20])
        raise InputError(f"{folder}: has no structure '{absent[0]}'; it has {some}.")
    order = {name: number for number, name in enumerate(structures)}
    kept = sorted((order[ours[name]], value) for value, name in named.items() if name in ours)
    others = {value: name if name in _ASIDE else _ASIDE[0] for value, name in named.items() if name not in ours}
    return {value: structures[place] for place, value in kept} | others


def _numbered(folder: Path, named: Mapping[int, str]) -> tuple[list[str], dict[int, int]]:
    """Names in the order of their ids, and the id of each value; nothing where these are the same."""
    names = list(dict.fromkeys(name for name in named.values() if name not in _ASIDE))
    if not names:
        raise InputError(f"{folder}: its labels name no structure; give --labels, such as 1=liver,2=tumour.")
    if wrong := [value for value in named if not (1 <= value <= MAX_LABEL or (value == 0 and named[0] == _ASIDE[0]))]:
        raise InputError(f"{folder}: {wrong[0]}={named[wrong[0]]}: structures have voxel values from 1 to {MAX_LABEL}.")
    _check_names(folder, names)
    ids = {name: number for number, name in enumerate(names, start=1)} | {_ASIDE[0]: 0}
    values = {value: ids[name] for value, name in named.items() if name in ids and value}
    return names, {} if all(value == number for value, number in values.items()) else values


def _check_names(folder: Path, names: Sequence[str], what: str = "structure") -> None:
    """Refuse names that nobody could tell apart, that no file can have, or that MONAI would take for an instruction."""
    seen: dict[str, str] = {}
    for name in names:
        way = "rename it in dataset.json, the segments or the files" + (
            ", or say --labels, such as 1=liver." if what == "structure" else "."
        )
        if not name.strip():
            raise InputError(f"{folder}: one {what} has an empty name: {way}")
        if _UNUSABLE.search(name) or len(name) > _LONGEST:
            raise InputError(
                f"{folder}: the {what} {name[:_LONGEST]!r} has a name that no file can have: {way} At most {_LONGEST} "
                "signs, none of them a slash, nor $, @ or % in front."
            )
        if (same := seen.setdefault(name.strip().casefold(), name)) != name:
            raise InputError(
                f"{folder}: the names '{same}' and '{name}' are alike but for capitals or blanks: give both values one "
                "name where they are one structure, else another one, in dataset.json or with --labels."
            )


def _channels(folder: Path, names: Sequence[str]) -> list[str]:
    """Names of the channels; where nnU-Net's say how each is scaled and so are the same, with their number."""
    named = [name if names.count(name) == 1 else f"{name} {number}" for number, name in enumerate(names, start=1)] or [
        "image"
    ]
    _check_names(folder, named, "channel")
    return named


def _check_folders(cases: Sequence[Case], names: Sequence[str]) -> None:
    """Refuse a case whose label is a folder without a file for one of the structures."""
    for case in cases:
        if case.label is None or not case.label.is_dir() or frames_in(case.label):
            continue
        if absent := set(names) - set(match_names(volumes_in(case.label), names).values()):
            raise InputError(
                f"{case.label}: case {case.id} has no volume of '{min(absent)}', which others have: write an empty one "
                "where the structure is absent, leave the case out, or choose with --structures."
            )


def _regions(regions: Mapping[str, list[int]], values: Mapping[int, int]) -> dict[str, list[int]]:
    ours = {name: {values.get(value, value) for value in held} - {0} for name, held in regions.items()}
    return {name: sorted(ids) for name, ids in ours.items() if ids}


def _structure(number: int, name: str) -> Structure:
    row = known(name)
    codes = (row.snomed, row.modifier) if row else (None, None)
    return Structure(number, name, rgb_of(number, name), *codes)
