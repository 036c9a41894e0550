"""Fingerprints of data sets that need not be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uncertaintyseg.data.dataset import DataSet, Structure
from uncertaintyseg.planning.facts import CaseFacts, Intensities
from uncertaintyseg.planning.fingerprint import Fingerprint, merge


def fingerprint(
    shape: Sequence[int],
    spacing: Sequence[float],
    *,
    count: int = 20,
    names: Sequence[str] = ("organ", "lesion"),
    modality: str | None = "MR",
    channels: Sequence[str] = ("image",),
    cropped: Sequence[int] | None = None,
    spacings: Sequence[Sequence[float]] | None = None,
) -> Fingerprint:
    """Of cases that are all alike, but for their spacings where these are given."""
    labels = [Structure(number, name, (10, 20, 30)) for number, name in enumerate(names, start=1)]
    data = DataSet(Path("data"), "own", [], labels, {}, list(channels), modality, None, {})
    sample = np.linspace(0, 200, 1001, dtype=np.float32)
    intensity = Intensities(100.0, 50.0, 0.0, 200.0, sample, 50.0, 60.0, -1000.0, 400.0)
    cases = [
        CaseFacts(
            f"case_{i}", tuple(shape), tuple(spacings[i] if spacings else spacing), tuple(cropped or shape), "RAS",
            [intensity] * len(channels), dict.fromkeys(range(1, len(names) + 1), 50), 0.0, {}, 0, str(i), str(i),
        )
        for i in range(len(spacings) if spacings else count)
    ]  # fmt: skip
    return merge(data, cases, [], 0.1)
