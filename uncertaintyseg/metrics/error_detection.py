"""Whether a risk map is high where the label is wrong: voxel error detection, case by case."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.arrays import BLOCK, blocks, check_finite, check_shapes
from uncertaintyseg.metrics.intervals import mean_with_interval
from uncertaintyseg.metrics.risk_coverage import Ranking, augrc, aurc, e_aurc

EXACT_VOXELS = BLOCK
"""Scopes with more voxels are ranked by rounded risks."""
_DROPPED_BITS = 12
_COLUMNS = (
    *((key, key, 1) for key in ("auroc", "ap", "fpr95")),
    *((f"{key}_x1000", key, 1000) for key in ("aurc", "e_aurc", "augrc")),
)


class Detection(NamedTuple):
    """How well one map finds the errors of one label.

    Without an error, or without a correct voxel, AUROC and FPR95 are NaN. Without an error AP is NaN too, and the areas
    are 0. Without voxels everything is NaN.
    """

    auroc: float
    """Chance that an error has a higher risk than a correct voxel, ties counting half."""
    ap: float
    """Average precision: precision at each risk, weighted by the errors that it adds."""
    fpr95: float
    """Share of the correct voxels at or above the highest risk that still catches 95 % of the errors."""
    aurc: float
    e_aurc: float
    augrc: float


def detection(ranked: Ranking) -> Detection:
    """Every measure, from what `rank_errors` gives."""
    count, wrong = (values.astype(np.float64) for values in ranked)
    right = count - wrong
    errors, others = wrong.sum(), right.sum()
    best = Ranking(np.array([others, errors]), np.array([0, errors]))
    areas = aurc(ranked), e_aurc(ranked, best), augrc(ranked)
    if not errors:
        return Detection(math.nan, math.nan, math.nan, *areas)
    caught, flagged = np.cumsum(wrong[::-1]), np.cumsum(count[::-1])  # from the highest risk down
    some = flagged > 0
    precision = float((wrong[::-1][some] * caught[some] / flagged[some]).sum() / errors)
    if not others:
        return Detection(math.nan, precision, math.nan, *areas)
    below = np.cumsum(right) - right / 2
    enough = np.argmax(caught >= 0.95 * errors - 1e-6)
    return Detection(
        auroc=float((wrong * below).sum() / (errors * others)),
        ap=precision,
        fpr95=float((flagged - caught)[enough] / others),
        aurc=areas[0],
        e_aurc=areas[1],
        augrc=areas[2],
    )


def rank_errors(risk: np.ndarray, error: np.ndarray, exact_voxels: int = EXACT_VOXELS) -> Ranking:
    """Rank flat voxels by risk, the loss of a voxel being 1 where the label is wrong.

    Up to `exact_voxels` voxels the ranking is exact; correct voxels between two risks that errors have are taken
    together, which changes no measure. Beyond, risks are rounded to float32 with 11 bits of fraction, 0.05 % apart, and
    voxels rounded alike count as ties: AUROC moves by at most half the share of the pairs (error, correct) so tied.

    Args:
        risk: `[n]`, finite.
        error: bool `[n]`.
        exact_voxels: the most that are sorted.
    """
    if risk.size > exact_voxels:
        count, lost = np.zeros((2, 1 << (32 - _DROPPED_BITS)), np.int64)
        for part in blocks(risk.size):
            level = _rounded_level(risk[part])
            count += np.bincount(level, minlength=count.size)
            lost += np.bincount(level[error[part]], minlength=count.size)
        return Ranking(count, lost)
    ordered = np.sort(risk)
    wrong, lost = np.unique(risk[error], return_counts=True)
    edges = np.stack([np.searchsorted(ordered, wrong, side) for side in ("left", "right")], axis=1)
    count = np.diff(edges.reshape(-1), prepend=0, append=risk.size)
    loss = np.zeros(count.size, np.int64)
    loss[1::2] = lost
    return Ranking(count, loss)


def detections(risk: np.ndarray, error: np.ndarray, scopes: Mapping[str, np.ndarray | None]) -> dict[str, Detection]:
    """Detection by one map within each scope; one sort a scope.

    Args:
        risk: `[*S]`, higher where it is riskier.
        error: bool `[*S]`, where the label is wrong.
        scopes: bool `[*S]` by name; None takes every voxel.

    Raises:
        InputError: when shapes differ or a risk is not finite.
    """
    check_shapes("the risk map", risk.shape, error.shape)
    check_finite("the risk map", risk)
    found = {}
    for name, scope in scopes.items():
        if scope is not None:
            check_shapes(f"the scope '{name}'", scope.shape, error.shape)
        inside = [values.reshape(-1) if scope is None else values[scope] for values in (risk, error)]
        found[name] = detection(rank_errors(*inside))
    return found


class ErrorDetection:
    """Error detection by several maps over many cases; keeps six numbers a case, map and scope."""

    def __init__(self) -> None:
        self._found: dict[tuple[str, str], list[Detection]] = defaultdict(list)

    def update(
        self, risks: Mapping[str, np.ndarray], error: np.ndarray, scopes: Mapping[str, np.ndarray | None]
    ) -> None:
        """Add a case; every map is judged on the same voxels. Args and Raises: as `detections`."""
        for name, risk in risks.items():
            try:
                found = detections(risk, error, scopes)
            except InputError as problem:
                raise InputError(f"map '{name}': {problem}") from problem
            for scope, row in found.items():
                self._found[scope, name].append(row)

    def said(self) -> list[tuple[str, str, list[list[float]]]]:
        """All that was added, for `add`: scope, map and a `Detection` a case."""
        return [(*key, [list(row) for row in rows]) for key, rows in self._found.items()]

    def add(self, said: Iterable[tuple[str, str, Iterable[Iterable[float]]]]) -> None:
        """Add what another was told."""
        for scope, name, rows in said:
            self._found[scope, name] += [Detection(*row) for row in rows]

    def compute(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Mean over cases and 95 % bootstrap interval of each measure, by scope and map; the areas times 1000.

        Cases where a measure is NaN are left out of its mean.
        """
        table: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        for (scope, name), rows in self._found.items():
            table[scope][name] = {
                key: mean_with_interval([factor * getattr(row, field) for row in rows])._asdict()
                for key, field, factor in _COLUMNS
            }
        return dict(table)


def best_map(table: Mapping[str, Mapping[str, Mapping[str, Any]]], scope: str = "boundary") -> str | None:
    """Map with the highest mean AUROC in a scope of `ErrorDetection.compute`; None where no map has one."""
    means = {name: row["auroc"]["mean"] for name, row in table.get(scope, {}).items()}
    known = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    return max(known, key=known.__getitem__) if known else None


def _rounded_level(risk: np.ndarray) -> np.ndarray:
    """Rank of each flat risk among float32 numbers with 11 bits of fraction."""
    bits = (risk.astype(np.float32) + np.float32(0)).view(np.uint32)  # + 0 makes one zero of -0 and 0
    sign = np.uint32(1 << 31)
    # IEEE numbers are in the order of their bits, negative ones the other way round.
    return (np.where(bits & sign, ~bits, bits | sign) >> _DROPPED_BITS).astype(np.intp)
