"""What a simulation showed: curves over labels, and each strategy against the baseline."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import trapezoid
from scipy.stats import t

from uncertaintyseg.active.strategies import BASELINE
from uncertaintyseg.metrics.intervals import Interval
from uncertaintyseg.simulation.cell import START, Cell
from uncertaintyseg.simulation.settings import Settings


def report(
    settings: Settings, output: Path, strategies: Sequence[str], seeds: Sequence[int], rounds: int
) -> dict[str, Any]:
    """The JSON of `uncertaintyseg simulate`, of a simulation whose cells are all done.

    `area` is the mean height of the curve of held-out Dice over labels (trapezium rule), `difference` that of a
    strategy minus that of the baseline from the same start set. Intervals are Student's, over seeds.
    """
    labels = [min(settings.budget(r), len(settings.pool)) for r in range(rounds + 1)]
    height = {name: _heights(output, name, seeds, rounds) for name in strategies}
    area = {name: _area(rows, labels) for name, rows in height.items()}
    result: dict[str, Any] = {
        "settings": settings.model_dump(exclude={"configs", "pool", "test"}),
        "cases": {"pool": len(settings.pool), "test": len(settings.test)},
        "seeds": list(seeds),
        "labels": labels,
        "baseline": BASELINE if BASELINE in strategies else None,
        "strategies": {},
        "seconds": sum(sum(cell.outcome().seconds.values()) for cell in _cells(output, strategies, seeds, rounds)),
    }
    for name in strategies:
        rival = area.get(BASELINE) if name != BASELINE else None
        result["strategies"][name] = {
            "dice": [over_seeds(column)._asdict() for column in height[name].T],
            "dice_by_seed": height[name].tolist(),
            "area": over_seeds(area[name])._asdict(),
            "difference": None if rival is None else over_seeds(area[name] - rival)._asdict(),
        }
    return result


def over_seeds(values: Sequence[float] | np.ndarray) -> Interval:
    """Mean over seeds and Student's 95 % interval; with one seed there is none (NaN)."""
    values = np.asarray(values, np.float64)
    mean, n = float(values.mean()), values.size
    if n < 2:
        return Interval(mean, math.nan, math.nan)
    reach = float(t.ppf(0.975, n - 1) * values.std(ddof=1) / math.sqrt(n))
    return Interval(mean, mean - reach, mean + reach)


def markdown(result: dict[str, Any]) -> str:
    """The table of a report, best area first."""
    first, last = result["labels"][0], result["labels"][-1]
    lines = [
        f"| strategy | Dice with {last} labels | area, {first} to {last} labels | difference from {BASELINE} |",
        "|---|---|---|---|",
    ]
    rows = sorted(result["strategies"].items(), key=lambda item: -item[1]["area"]["mean"])
    for name, row in rows:
        figures = [_figure(row["dice"][-1]), _figure(row["area"]), _figure(row["difference"], sign="+")]
        lines.append(f"| {name} | {' | '.join(figures)} |")
    return "\n".join(lines)


def _figure(interval: dict[str, float] | None, sign: str = "") -> str:
    if interval is None:
        return "-"
    mean, lo, hi = (f"{interval[key]:{sign}.4f}" for key in ("mean", "lo", "hi"))
    return mean if math.isnan(interval["lo"]) else f"{mean} ({lo} to {hi})"


def _heights(output: Path, strategy: str, seeds: Sequence[int], rounds: int) -> np.ndarray:
    """Held-out Dice `[seeds, rounds + 1]`."""
    return np.array(
        [[_cell(output, strategy, seed, r).outcome().mean_dice() for r in range(rounds + 1)] for seed in seeds]
    )


def _area(rows: np.ndarray, labels: Sequence[int]) -> np.ndarray:
    """Mean height `[seeds]` of curves `[seeds, rounds + 1]`."""
    width = labels[-1] - labels[0]
    return trapezoid(rows, labels, axis=1) / width if width else rows[:, 0]


def _cell(output: Path, strategy: str, seed: int, number: int) -> Cell:
    return Cell(output, strategy if number else START, seed, number)


def _cells(output: Path, strategies: Sequence[str], seeds: Sequence[int], rounds: int) -> list[Cell]:
    numbers = range(1, rounds + 1)
    started = [Cell(output, START, seed, 0) for seed in seeds]
    return started + [Cell(output, name, seed, r) for name in strategies for seed in seeds for r in numbers]
