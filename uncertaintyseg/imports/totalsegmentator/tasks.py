"""What TotalSegmentator's tasks are made of (NETWORKS 2)."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from uncertaintyseg.errors import InputError

_TABLE = Path(__file__).with_name("tasks.json")
DEFAULT = "total"


class Task(BaseModel):
    """One task that can be imported.

    Attributes:
        name: as TotalSegmentator's `--task`, with `_fast` or `_fastest` for its options of these names.
        datasets: nnU-Net's number of the data set of each network, in the order in which their labels are merged.
        spacing: of the grid that TotalSegmentator resamples to, mm along x, y, z.
        trainer: of the networks.
        configuration: of their plans.
        folds: that are used, or None for all.
        overlap: of windows.
        modality: of the scans.
        download: what `totalseg_download_weights --task` calls it.
        classes: structures of the task; their place, from 1, is their id.
        parts: structures of each network, where there are several; their place, from 1, is the network's class.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    datasets: list[int]
    spacing: tuple[float, float, float]
    trainer: str
    configuration: str
    folds: str | None
    overlap: float
    modality: str
    download: str
    classes: list[str]
    parts: list[list[str]] | None = None


def task(name: str) -> Task:
    """The task of a name.

    Raises:
        InputError: for one that does not exist, or that cannot be imported yet; the message says why.
    """
    table = _table()
    if name in table["refused"]:
        raise InputError(f"TotalSegmentator's task '{name}' cannot be imported yet: {table['refused'][name]}.")
    if name not in table["tasks"]:
        raise InputError(f"TotalSegmentator has no task '{name}' that is known here; known are {', '.join(names())}.")
    row = table["tasks"][name]
    return Task.model_validate(row | {"name": name, "classes": table["classes"][row["classes"]]})


def names() -> list[str]:
    """Of all tasks that can be imported, the usual one first."""
    return sorted(_table()["tasks"], key=lambda name: (name != DEFAULT, not name.startswith("total"), name))


def refused() -> dict[str, str]:
    """Tasks that cannot be imported yet, and why."""
    return dict(_table()["refused"])


@lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    return json.loads(_TABLE.read_text(encoding="utf-8"))
