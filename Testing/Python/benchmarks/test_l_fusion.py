"""What the table of L-FUSION adds up: circumferences of heads, and sweeps over time."""

from __future__ import annotations

import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    yield importlib.import_module("l_fusion")
    for name in ("l_fusion", "common"):
        sys.modules.pop(name, None)


def disc(radius: float) -> np.ndarray:
    x, y = np.mgrid[:128, :128] - 64
    return (np.hypot(x, y) <= radius)[..., None]


def test_circumferences_differ_by_that_of_the_difference_of_the_radii_in_mm(bench):
    affine = np.diag([0.5, 0.5, 1, 1])
    found = [bench.circumference_error(disc(a), disc(b), affine) for a, b in ((50, 40), (40, 50))]
    assert found == pytest.approx([2 * math.pi * 10 * 0.5] * 2, rel=0.02)
    assert math.isnan(bench.circumference_error(disc(-1), disc(40), affine))


def test_frames_are_rows_in_the_order_of_time_and_means_over_sweeps(bench):
    rows = [
        {"case": case, "frame": frame, "dice": 0.5 + 0.1 * case, "head_dice": 0.9, "variance": 0.01 * (frame + case)}
        for case in (0, 1)
        for frame in (10, 2)
    ]
    header, _, first, second = bench.over_time({"SSN": rows})
    assert header == "| method | frame | n | mean Dice of structures | Dice of the head | `variance` |"
    assert [line.split(" | ")[1:4] for line in (first, second)] == [
        ["2", "2", "0.550 (0.500 to 0.600)"], ["10", "2", "0.550 (0.500 to 0.600)"],
    ]  # fmt: skip
    assert [line.split(" | ")[-1] for line in (first, second)] == ["2.50e-02 |", "1.05e-01 |"]
