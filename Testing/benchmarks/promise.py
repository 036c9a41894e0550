"""Whether promises hold: resplits of real cases, and draws with known truth; the tables of docs/review.md."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from common import console, show

from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import find_bundle, find_bundles
from uncertaintyseg.inference.calibrating import calibrate
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.promise import crc_threshold, rcps_threshold

SPLITS, CALIBRATED, DELTA = 1000, 40, 0.1
ALPHAS = (0.05, 0.10, 0.15)
DRAWS = 2000


def curves(name: str, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Losses and reviewed shares `[n, T]` of the calibration and the 20 validation cases, by the map that drives."""
    bundle, split = find_bundle(name), read_split("msd_hippocampus")
    by = bundle.calibration[0].measure
    ids = {*split["calibration"], *split["validation"]}
    found = calibrate(Predictor(bundle), [case for case in read_cases(data) if case.id in ids], by=by)
    return found.losses, np.array([case.reviewed for case in found.cases])


def resplit(losses: np.ndarray, reviewed: np.ndarray, n: int) -> Iterator[list[str]]:
    """A row a promise: over random splits into n calibration cases and the rest, what it left and what it cost."""
    rng = np.random.default_rng(0)
    orders = [rng.permutation(len(losses)) for _ in range(SPLITS)]
    for alpha in ALPHAS:
        for delta in (None, DELTA):
            left, cost, none = [], [], 0
            for order in orders:
                index = chosen(losses[order[:n]], alpha, delta)
                none += index is None
                left.append(0.0 if index is None else losses[order[n:], index].mean())
                cost.append(1.0 if index is None else reviewed[order[n:], index].mean())
            left = np.array(left)
            if none == SPLITS:
                yield [f"{alpha:.0%}", how(delta), "cannot be promised", "", "", ""]
            else:
                over = f"{np.mean(left > alpha):.1%}"
                yield [
                    f"{alpha:.0%}",
                    how(delta),
                    f"{left.mean():.2%}",
                    over,
                    f"{np.mean(cost):.1%}",
                    f"{none / SPLITS:.1%}",
                ]


def known_truth(n: int) -> Iterator[list[str]]:
    """A row a promise: calibrations of n cases with loss a t at threshold t, a drawn from Beta(0.4, 2)."""
    rng, thresholds = np.random.default_rng(n), np.linspace(0, 1, 101)
    draws = rng.beta(0.4, 2, (DRAWS, n))[..., None] * thresholds
    for alpha in ALPHAS:
        for delta in (None, DELTA):
            indices = [chosen(losses, alpha, delta) for losses in draws]
            risk = np.array([0.0 if index is None else thresholds[index] / 6 for index in indices])
            none = np.mean([index is None for index in indices])
            yield [
                str(n),
                f"{alpha:.0%}",
                how(delta),
                f"{risk.mean():.2%}",
                f"{np.mean(risk > alpha):.1%}",
                f"{none:.1%}",
            ]


def chosen(losses: np.ndarray, alpha: float, delta: float | None) -> int | None:
    """Index of the threshold that a promise takes."""
    return crc_threshold(losses, alpha) if delta is None else rcps_threshold(losses, alpha, delta)


def how(delta: float | None) -> str:
    """The kind of promise, for people."""
    return "on average" if delta is None else f"{1 - delta:.0%} sure"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="Folder of Task04 (images/, labels/)")
    parser.add_argument("--model", action="append", help="Repeatable; by default every hippocampus model")
    options = parser.parse_args()
    columns = ["at most", "how sure", "left wrong", "splits above it", "reviewed", "whole scan"]
    for name in options.model or [name for name in find_bundles() if name.startswith("hippocampus")]:
        losses, reviewed = curves(name, options.data)
        title = f"{name}: {SPLITS} splits of {len(losses)} cases into {CALIBRATED} and {len(losses) - CALIBRATED}"
        show(title, columns, list(resplit(losses, reviewed, CALIBRATED)))
    rows = [row for n in (1, 20, 40, 100) for row in known_truth(n)]
    show(
        f"Known truth, {DRAWS} calibrations",
        ["cases", "at most", "how sure", "true risk", "above it", "whole scan"],
        rows,
    )
    console.print("'above it': of the promises on average that may happen; with 90 % confidence, in 10 % at most.")


if __name__ == "__main__":
    main()
