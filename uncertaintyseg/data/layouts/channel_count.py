"""Whether a data set's scans have the channels that a model takes."""

from __future__ import annotations

import os
from collections.abc import Sequence

from uncertaintyseg.data.layouts import find_layout
from uncertaintyseg.data.layouts.pairs import channel_counts
from uncertaintyseg.errors import InputError


def check_channel_count(folder: str | os.PathLike[str], takes: Sequence[str]) -> None:
    """Refuse a data set of more channels than a model takes, which would learn from the first ones and say nothing.

    Fewer are refused where the scans are read.

    Args:
        folder: of a data set.
        takes: names of the model's channels.

    Raises:
        InputError: names the channels of both, and the way out; and as `read_cases`.
    """
    layout, cases = find_layout(folder)
    try:
        names = list(layout.facts(folder, cases).channels)
    except InputError:  # of what a dataset.json says, which does not matter here, or of scans that differ
        names = [f"channel {number}" for number in range(1, max(channel_counts(cases).values()) + 1)]
    if len(names) > len(takes):
        raise InputError(
            f"{folder}: its scans have {len(names)} channels ({', '.join(names)}), and this model takes {len(takes)} "
            f"({', '.join(takes)}). Plan a model of all of them (uncertaintyseg plan TASK {folder}), or make a folder "
            "with images/ and labels/ that holds only those that it takes."
        )
