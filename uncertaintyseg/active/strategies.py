"""Which cases to label next: a registry of strategies, each the same for the same pool, round and generator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import chain, zip_longest

import numpy as np

from uncertaintyseg.active.acquisition import ACQUISITIONS, FOREGROUND, of_structure
from uncertaintyseg.active.candidates import Candidate, Choice, Choose, Pool, ranked, topped_up
from uncertaintyseg.active.diversity import choose_diverse, choose_diverse_and_unsure
from uncertaintyseg.errors import InputError

BASELINE = "foreground_random"
"""What a strategy has to beat: none does so reliably (nnActive, arXiv 2511.19183)."""
_FIRST_POWER, _GROWTH, _LAST_POWER = 1.0, 10**0.5, 100.0
_FLOOR = 0.01


@dataclass(frozen=True)
class Strategy:
    """A way to choose.

    Attributes:
        summary: for people, in one line.
        choose: `Choose`.
        reads: what it needs to know of a case before it does better than names in order: a measure, "features", or
            nothing.
        map: a map that only some heads make, without which no case has that measure.
    """

    summary: str
    choose: Choose
    reads: tuple[str, ...] = ()
    map: str | None = None

    def suits(self, maps: Collection[str]) -> bool:
        """Whether a model that makes these maps gives what it reads."""
        return self.map is None or self.map in maps


def find_strategy(name: str) -> Strategy:
    """The strategy called `name`. Raises `InputError` that lists the names there are."""
    if name not in STRATEGIES:
        raise InputError(f"there is no strategy '{name}'; there are {', '.join(STRATEGIES)}.")
    return STRATEGIES[name]


def check_suits(name: str, model: str, maps: Collection[str]) -> None:
    """Raise `InputError` where a strategy reads a map that a model does not make."""
    if not STRATEGIES[name].suits(maps):
        raise InputError(
            f"{name} reads the map '{STRATEGIES[name].map}', which '{model}' does not make: choose a model with a "
            "segwithu head, or another strategy."
        )


def _choose_random(pool: Pool, count: int) -> list[Choice]:
    total = len(pool.unlabelled)
    drawn = pool.rng.permutation(sorted(case.id for case in pool.unlabelled))[:count]
    return [Choice(str(case), None, f"drawn at random from {total} images without a label") for case in drawn]


def _choose_by_foreground(pool: Pool, count: int) -> list[Choice]:
    """Draw by predicted foreground; a case without a prediction weighs as much as the mean of the others."""
    cases = sorted(pool.unlabelled, key=lambda case: case.id)
    known = np.array([case.scores.get(FOREGROUND, np.nan) for case in cases])
    mean = 0.0 if np.isnan(known).all() else float(np.nanmean(known))
    weights = np.where(np.isnan(known), mean, known) + (_FLOOR * mean or 1.0)  # none is left out for ever
    drawn = pool.rng.choice(len(cases), min(count, len(cases)), replace=False, p=weights / weights.sum())
    return [
        Choice(
            cases[i].id,
            cases[i].scores.get(FOREGROUND),
            f"drawn at random by predicted foreground from {len(cases)} images without a label",
        )
        for i in drawn
    ]


def _highest(measure: str) -> Choose:
    """The cases with the highest scores by one measure."""
    unit, summary, _ = ACQUISITIONS[measure]
    unit = "" if unit == "1" else f" {unit}"

    def choose(pool: Pool, count: int) -> list[Choice]:
        order = ranked(pool.unlabelled, measure)
        choices = [
            Choice(
                case.id, case.scores[measure], f"{summary}: {case.scores[measure]:.4g}{unit}, rank {n} of {len(order)}"
            )
            for n, case in enumerate(order[:count], start=1)
        ]
        return topped_up(choices, pool, count)

    return choose


def power(number: int) -> float:
    """Exponent of the scores in a round (0 is the first): from 1, nearly random, to 100, nearly the highest."""
    return min(_FIRST_POWER * _GROWTH**number, _LAST_POWER)


def _choose_class_stratified(pool: Pool, count: int) -> list[Choice]:
    """The structures in turn, the one found in the fewest cases first, each with its unsurest cases, with noise.

    A score s with exponent b is drawn with chance ~ s^b: ln s + Gumbel noise / b is ranked (Kirsch et al., Stochastic
    Batch Acquisition, TMLR 2023). Strata by predicted class and noise that fades with the rounds are ClaSP-PE's
    (arXiv 2601.13677), which queries patches; here a case counts for a structure by the entropy around it.
    """
    prefix, exponent = of_structure(""), power(pool.round)
    names = sorted({key for case in pool.unlabelled for key in case.scores if key.startswith(prefix)})
    strata = [[(name, case) for case in _perturbed(pool, name, exponent)] for name in names]
    strata.sort(key=len)
    chosen: dict[str, Choice] = {}
    for name, case in filter(None, chain.from_iterable(zip_longest(*strata))):
        score = case.scores[name]
        reason = f"unsure around {name.removeprefix(prefix)}: {score:.4g} nats, drawn with exponent {exponent:.3g}"
        chosen.setdefault(case.id, Choice(case.id, score, reason))
    return topped_up(list(chosen.values())[:count], pool, count)


def _perturbed(pool: Pool, measure: str, exponent: float) -> list[Candidate]:
    """The cases that have the measure, in the order of their scores with noise."""
    cases = ranked(pool.unlabelled, measure)
    scores = np.array([case.scores[measure] for case in cases])
    noisy = np.log(np.maximum(scores, 1e-12)) + pool.rng.gumbel(size=len(cases)) / exponent
    return [cases[i] for i in np.argsort(-noisy, kind="stable")]


STRATEGIES: dict[str, Strategy] = {
    "random": Strategy("any case", _choose_random),
    BASELINE: Strategy("any case, by the volume of its predicted foreground", _choose_by_foreground, (FOREGROUND,)),
    **{
        name: Strategy(f"highest {what.summary}", _highest(name), (name,), what.map)
        for name, what in ACQUISITIONS.items()
    },
    "diversity": Strategy(
        "the case farthest from all labelled ones in the network's features (greedy k-center)",
        choose_diverse,
        ("features",),
    ),
    "entropy_diversity": Strategy(
        "drawn by predictive entropy x squared distance from the labelled ones (k-means++)",
        choose_diverse_and_unsure,
        ("predictive_entropy", "features"),
    ),
    "class_stratified": Strategy(
        "one structure after another, by entropy with less and less noise (ClaSP-PE)",
        _choose_class_stratified,
        ("predictive_entropy",),
    ),
}
