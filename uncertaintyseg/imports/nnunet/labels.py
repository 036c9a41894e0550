"""The labels of an nnU-Net dataset.json: classes that exclude each other, or nested regions (NETWORKS 1.10)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.names import plain_names

_IGNORE = "ignore"


@dataclass(frozen=True)
class Labels:
    """Structures by class id, and how the network's channels stand for them.

    Attributes:
        names: of the structures 1, 2, 3, ...; plain, and each another.
        renamed: names that had to be changed, as they came.
        regions: the class id that each sigmoid channel of nested regions adds inside the one before; None for a
            network whose channels are background and structures, with a softmax.
        ignore: id that marks voxels of a label as not labelled; the network has no channel for it.
    """

    names: list[str]
    renamed: dict[str, str]
    regions: list[int] | None
    ignore: int | None = None

    @property
    def channels(self) -> int:
        """How many the network's output has."""
        return len(self.names) + (self.regions is None)


def read_labels(dataset: Mapping[str, Any]) -> Labels:
    """The labels of a dataset.json.

    Raises:
        BundleError: for labels that are not 0 (background), 1, 2, ..., or regions that are not nested; or an `ignore`
            that is not one id after all others, as nnU-Net has it.
    """
    found = _read(dataset.get("labels"), dataset.get("regions_class_order"))
    if _IGNORE not in dataset["labels"]:
        return found
    ignore = _ids(_IGNORE, dataset["labels"][_IGNORE])
    if ignore != [len(found.names) + 1]:
        raise BundleError(
            f"dataset.json: 'ignore' is {dataset['labels'][_IGNORE]!r}; nnU-Net has it as the one id after all others, "
            f"{len(found.names) + 1}."
        )
    return replace(found, ignore=ignore[0])


def _read(labels: object, order: object) -> Labels:
    """The structures, without `ignore`."""
    if not isinstance(labels, Mapping) or labels.get("background") != 0:
        raise BundleError("dataset.json has no 'labels' with \"background\": 0, as nnU-Net v2 needs it.")
    members = {str(name): _ids(name, value) for name, value in labels.items() if name not in {"background", _IGNORE}}
    if any(len(ids) > 1 for ids in members.values()):
        return _regions(members, order)
    by_id = {ids[0]: name for name, ids in members.items()}
    if sorted(by_id) != list(range(1, len(members) + 1)) or not members:
        raise BundleError(
            f"dataset.json: the labels have the ids {_listed(by_id)}; nnU-Net's networks know 1, 2, 3, ... without "
            "gaps. Take the dataset.json that the network was trained with."
        )
    return _named([by_id[i] for i in sorted(by_id)], None)


def _regions(members: Mapping[str, list[int]], order: object) -> Labels:
    """Nested regions, each channel's within the one before: the outermost first."""
    if not isinstance(order, list) or len(order) != len(members):
        raise BundleError("dataset.json: regions need a 'regions_class_order' with one id for each of them.")
    for (outer, around), (inner, within) in pairwise(members.items()):
        if not set(within) < set(around):
            raise BundleError(
                f"dataset.json: the region '{inner}' does not lie within '{outer}' before it. Regions that are not "
                "nested may overlap, so no voxel would have one class; only nested ones can be imported."
            )
    sets = [*map(set, members.values()), set()]
    added = [sorted(outer - inner) for outer, inner in pairwise(sets)]
    if added != [[i] for i in order] or sorted(order) != list(range(1, len(order) + 1)):
        raise BundleError(
            "dataset.json: each region must add one id of its own, that of 'regions_class_order', to the region within "
            f"it; they add {added}, the order is {order}."
        )
    outer = list(members)
    names = [f"{name} outside {inner}" for name, inner in pairwise(outer)] + outer[-1:]
    return _named([names[order.index(i)] for i in range(1, len(order) + 1)], list(order))


def _named(texts: list[str], regions: list[int] | None) -> Labels:
    names = plain_names(texts, "structure")
    return Labels(names, {old: new for old, new in zip(texts, names, strict=True) if old != new}, regions)


def _ids(name: object, value: object) -> list[int]:
    ids = value if isinstance(value, list) else [value]
    if not ids or not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise BundleError(f"dataset.json: the label {name!r} is {value!r}; a whole number, or some of them, is wanted.")
    return ids


def _listed(ids: Mapping[int, str]) -> str:
    return ", ".join(map(str, sorted(ids))) or "none"
