"""Ellipses in a plane: fitted to points of a border, and how long their own is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from uncertaintyseg.errors import InputError

FEWEST_POINTS = 5
"""That say which ellipse it is."""


def circumference(a: float, b: float) -> float:
    """Circumference of an ellipse by Ramanujan's second formula, in the unit of its semi-axes.

    S. Ramanujan, Modular equations and approximations to pi. Quart J Math 45:350-372 (1914).
    """
    h = ((a - b) / (a + b)) ** 2
    return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))


@dataclass(frozen=True)
class Ellipse:
    """Centre, semi-axes, and the angle of the long one in radians from x to y; lengths in one unit."""

    x: float
    y: float
    long: float
    short: float
    angle: float

    @property
    def circumference(self) -> float:
        """In the unit of the axes."""
        return circumference(self.long, self.short)


def fit_ellipse(x: np.ndarray, y: np.ndarray) -> Ellipse:
    """Fit an ellipse to points of a border, `[N]` each, by direct least squares.

    Halir R, Flusser J. Numerically stable direct least squares fitting of ellipses. WSCG (1998). scikit-image has it
    under names that change from version to version.

    Raises:
        InputError: for fewer than five points that differ, or points that lie on no ellipse, such as those of a line.
    """
    count = len(np.unique(np.stack([x, y], -1), axis=0))
    if count < FEWEST_POINTS:
        raise InputError(f"an ellipse needs {FEWEST_POINTS} points of a border, and there are {count}.")
    mx, my, scale = x.mean(), y.mean(), x.std() + y.std()
    x, y = (x - mx) / scale, (y - my) / scale
    square, line = np.stack([x * x, x * y, y * y], -1), np.stack([x, y, np.ones_like(x)], -1)
    constraint = np.array([[0, 0, 2], [0, -1, 0], [2, 0, 0]])
    try:
        back = -np.linalg.solve(line.T @ line, line.T @ square)
        reduced = square.T @ square + square.T @ line @ back
        vectors = np.real(np.linalg.eig(np.linalg.solve(constraint, reduced))[1])
        best = vectors[:, np.argmax(4 * vectors[0] * vectors[2] - vectors[1] ** 2)]
        a, b, c = best
        d, e, f = back @ best
        centre = np.linalg.solve([[2 * a, b], [b, 2 * c]], [-d, -e])
        level = -(f + (d * centre[0] + e * centre[1]) / 2)
        values, axes = np.linalg.eigh(np.array([[a, b / 2], [b / 2, c]]) / level)  # the long axis first
    except np.linalg.LinAlgError:
        values = np.zeros(2)
    if not (np.isfinite(values).all() and values[0] > 1e-9 * values[1] > 0):
        raise InputError(f"no ellipse fits the {count} points of this border: they lie nearly on a line.")
    angle = (np.arctan2(axes[1, 0], axes[0, 0]) + np.pi / 2) % np.pi - np.pi / 2
    long, short = scale / np.sqrt(values)
    return Ellipse(
        float(mx + scale * centre[0]), float(my + scale * centre[1]), float(long), float(short), float(angle)
    )
