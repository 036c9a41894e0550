"""Strategies that look for cases unlike those that have a label."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from uncertaintyseg.active.candidates import Candidate, Choice, Pool, topped_up

_MEASURE = "predictive_entropy"


def choose_diverse(pool: Pool, count: int) -> list[Choice]:
    """Greedy k-center: each time the case farthest from all that are labelled or chosen (arXiv 1708.00489).

    With no labelled case the first is the one nearest to the mean of all.
    """
    cases = _with_features(pool.unlabelled)
    distances = _Distances(cases, _with_features(pool.labelled))
    choices: list[Choice] = []
    while len(choices) < min(count, len(cases)):
        nearest = distances.to_centers()
        i = int(np.argmax(nearest)) if nearest is not None else distances.most_typical()
        score = None if nearest is None else float(nearest[i])
        reason = "the most typical image" if score is None else f"farthest from the labelled ones: {score:.3g}"
        choices.append(Choice(cases[i].id, score, f"{reason}, of {len(cases)} with features"))
        distances.add(i)
    return topped_up(choices, pool, count)


def choose_diverse_and_unsure(pool: Pool, count: int) -> list[Choice]:
    """k-means++ seeding: drawn with chance ~ entropy x squared distance to the nearest labelled or chosen case."""
    cases = _with_features(pool.unlabelled)
    distances = _Distances(cases, _with_features(pool.labelled))
    entropy = np.array([case.scores.get(_MEASURE, 0.0) for case in cases])
    choices: list[Choice] = []
    while len(choices) < min(count, len(cases)):
        nearest = distances.to_centers()
        weight = np.maximum(entropy, 1e-12) * (1.0 if nearest is None else nearest**2)
        if choices:
            weight[distances.chosen] = 0
        if not weight.sum():  # all the same: any that is left
            weight = np.array([i not in distances.chosen for i in range(len(cases))], float)
        i = int(pool.rng.choice(len(cases), p=weight / weight.sum()))
        reason = f"drawn by entropy ({entropy[i]:.4g} nats) and distance from the labelled ones"
        choices.append(Choice(cases[i].id, float(entropy[i]), f"{reason}, of {len(cases)} with features"))
        distances.add(i)
    return topped_up(choices, pool, count)


class _Distances:
    """Euclidean distances in features scaled to unit standard deviation over all cases, which all have some.

    Args:
        free: the unlabelled.
        centers: the labelled.
    """

    def __init__(self, free: Sequence[Candidate], centers: Sequence[Candidate]) -> None:
        rows = np.array([case.features for case in (*free, *centers)], float) if free else np.zeros((1, 1))
        spread = rows.std(0)
        scaled = (rows - rows.mean(0)) / np.where(spread > 0, spread, 1.0)
        self._free = scaled[: len(free)]
        self._nearest: np.ndarray | None = None
        self.chosen: list[int] = []
        for center in scaled[len(free) :]:
            self._look_at(center)

    def to_centers(self) -> np.ndarray | None:
        """Distance `[free]` of each unlabelled case to the nearest center, -inf where it is chosen; None without."""
        if self._nearest is None:
            return None
        nearest = self._nearest.copy()
        nearest[self.chosen] = -np.inf
        return nearest

    def most_typical(self) -> int:
        """The case nearest to the mean."""
        return int(np.argmin(np.linalg.norm(self._free, axis=1)))

    def add(self, i: int) -> None:
        """Make an unlabelled case a center."""
        self.chosen.append(i)
        self._look_at(self._free[i])

    def _look_at(self, center: np.ndarray) -> None:
        distance = np.linalg.norm(self._free - center, axis=1)
        self._nearest = distance if self._nearest is None else np.minimum(self._nearest, distance)


def _with_features(cases: Sequence[Candidate]) -> list[Candidate]:
    return sorted((case for case in cases if case.features is not None), key=lambda case: case.id)
