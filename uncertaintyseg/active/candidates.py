"""What a strategy sees of a case, and what it answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Candidate:
    """A case that could be labelled next, or that has its label already.

    Attributes:
        id: of the case.
        scores: `acquisition.case_scores` by the present model; empty before it has seen the case.
        features: `[F]`, what the case looks like to the network; None before.
    """

    id: str
    scores: Mapping[str, float] = field(default_factory=dict)
    features: np.ndarray | None = None


@dataclass(frozen=True)
class Choice:
    """A case to label next.

    Attributes:
        id: of the case.
        score: what it was chosen by; None where there is no such number.
        reason: for people.
    """

    id: str
    score: float | None
    reason: str


@dataclass(frozen=True)
class Pool:
    """What is to choose from.

    Attributes:
        unlabelled: at least one case.
        labelled: what has its label already; only diversity looks at it.
        round: how often labels were asked for before, 0 at first.
        rng: of the strategies that draw.
    """

    unlabelled: Sequence[Candidate]
    labelled: Sequence[Candidate]
    round: int
    rng: np.random.Generator


Choose = Callable[[Pool, int], list[Choice]]
"""At most k different cases of the unlabelled, the first to be labelled first."""


def ranked(candidates: Sequence[Candidate], measure: str) -> list[Candidate]:
    """Those that have the measure, highest first; equal ones by id."""
    scored = [case for case in candidates if measure in case.scores]
    return sorted(scored, key=lambda case: (-case.scores[measure], case.id))


def topped_up(choices: list[Choice], pool: Pool, count: int) -> list[Choice]:
    """The choices, and cases that the model has not seen, by id, where there are fewer than wanted."""
    chosen = {choice.id for choice in choices}
    left = sorted(case.id for case in pool.unlabelled if case.id not in chosen)
    total = len(pool.unlabelled)
    rest = [Choice(case, None, f"not scored yet: first by name of {total}") for case in left[: count - len(choices)]]
    return choices + rest
