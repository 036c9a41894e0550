"""Strategies: always different cases, as many as asked for, the same for the same seed, and what each is after."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.active.acquisition import ACQUISITIONS, FOREGROUND
from uncertaintyseg.active.candidates import Candidate, Choice, Pool
from uncertaintyseg.active.strategies import BASELINE, STRATEGIES, check_suits, find_strategy, power
from uncertaintyseg.errors import InputError


def case(name: str, seed: int = 0, features: object = None, **scores: float) -> Candidate:
    rng = np.random.default_rng(seed)
    measures = {measure: float(rng.random()) for measure in (*ACQUISITIONS, FOREGROUND)}
    around = {f"predictive_entropy_{structure}": float(rng.random()) for structure in ("organ", "lesion")}
    return Candidate(name, measures | around | scores, rng.random(4) if features is None else np.asarray(features))


def choose(strategy: str, unlabelled: list, count: int, labelled: list = (), number: int = 0, seed: int = 0) -> list:
    pool = Pool(unlabelled, list(labelled), number, np.random.default_rng(seed))
    return STRATEGIES[strategy].choose(pool, count)


def ids(choices: list[Choice]) -> list[str]:
    return [choice.id for choice in choices]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(
    seen=st.integers(0, 6), unseen=st.integers(0, 4), labelled=st.integers(0, 3), count=st.integers(1, 12),
    number=st.integers(0, 8), seed=st.integers(0, 3),
)  # fmt: skip
def test_it_gives_as_many_different_cases_as_there_are_up_to_k(strategy, seen, unseen, labelled, count, number, seed):
    pool = [case(f"seen{i}", i) for i in range(seen)] + [Candidate(f"unseen{i}") for i in range(unseen)]
    if not pool:
        return
    done = [case(f"done{i}", 50 + i) for i in range(labelled)]
    first, again = (choose(strategy, pool, count, done, number, seed) for _ in range(2))
    assert first == again
    assert len(set(ids(first))) == len(first) == min(count, len(pool))
    assert set(ids(first)) <= {candidate.id for candidate in pool}
    assert all(choice.reason for choice in first)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_order_in_which_cases_come_does_not_matter(strategy):
    pool, done = [case(f"c{i}", i) for i in range(7)], [case("done", 50)]
    assert ids(choose(strategy, pool, 4, done)) == ids(choose(strategy, pool[::-1], 4, done))


@pytest.mark.parametrize("measure", ACQUISITIONS)
def test_a_measure_serves_its_highest_scores_and_then_the_cases_nobody_looked_at(measure):
    pool = [case(f"c{i}", **{measure: value}) for i, value in enumerate((0.2, 0.9, 0.9, 0.5))] + [Candidate("new")]
    choices = choose(measure, pool, 5)
    assert ids(choices) == ["c1", "c2", "c3", "c0", "new"]
    assert choices[0].score == 0.9
    assert choices[0].reason.endswith("rank 1 of 4")
    assert choices[-1].score is None


def test_a_strategy_that_reads_the_map_of_a_head_suits_models_with_that_head_alone():
    assert [name for name, strategy in STRATEGIES.items() if not strategy.suits({"predictive_entropy"})] == [
        "risk_ranking"
    ]
    check_suits("risk_ranking", "hippocampus_segwithu", {"predictive_entropy", "ranking"})
    with pytest.raises(InputError, match="'ranking', which 'hippocampus_low_rank' does not make"):
        check_suits("risk_ranking", "hippocampus_low_rank", {"predictive_entropy"})


def test_random_draws_every_case_alike():
    pool = [case(f"c{i}", i) for i in range(4)]
    drawn = Counter(choose("random", pool, 1, seed=seed)[0].id for seed in range(2000))
    assert all(abs(drawn[f"c{i}"] - 500) < 80 for i in range(4))


def test_the_baseline_draws_by_predicted_foreground_and_leaves_nothing_out():
    pool = [case("small", **{FOREGROUND: 1.0}), case("large", **{FOREGROUND: 3.0}), case("none", **{FOREGROUND: 0.0})]
    drawn = Counter(choose(BASELINE, pool, 1, seed=seed)[0].id for seed in range(3000))
    assert drawn["large"] / drawn["small"] == pytest.approx(3, rel=0.15)
    assert 0 < drawn["none"] < 60
    unseen = Counter(choose(BASELINE, [Candidate("a"), Candidate("b")], 1, seed=seed)[0].id for seed in range(1000))
    assert abs(unseen["a"] - 500) < 60


def test_diversity_takes_the_case_farthest_from_all_that_have_a_label_or_were_chosen():
    places = {"near": 0.2, "far": 10.0, "beside": 9.9, "middle": 5.0}
    pool = [case(name, features=[place]) for name, place in places.items()]
    assert ids(choose("diversity", pool, 3, [case("done", features=[0.0])])) == ["far", "middle", "near"]


def test_without_labels_diversity_starts_with_the_most_typical_case():
    pool = [case(f"c{x}", features=[float(x)]) for x in (0, 4, 5, 6, 10)]
    assert ids(choose("diversity", pool, 2)) == ["c5", "c0"]


def test_features_of_other_scale_weigh_alike():
    pool = [case("a", features=[1000.0, 0.0]), case("b", features=[0.0, 1.0]), case("c", features=[0.0, 0.0])]
    done = [case("d", features=[0.0, 0.0])]
    first = choose("diversity", pool, 1, done)[0].score
    rescaled = [Candidate(c.id, c.scores, c.features / (1000, 1)) for c in pool]
    assert choose("diversity", rescaled, 1, done)[0].score == pytest.approx(first)


def test_the_hybrid_prefers_what_is_unsure_and_far():
    places = {"both": ([8.0], 1.0), "far": ([8.1], 0.01), "unsure": ([0.3], 1.0), "neither": ([0.2], 0.01)}
    pool = [case(name, features=at, predictive_entropy=score) for name, (at, score) in places.items()]
    done = [case("done", features=[0.0])]
    drawn = Counter(choose("entropy_diversity", pool, 1, done, seed=seed)[0].id for seed in range(300))
    assert drawn["both"] > 280


def test_the_hybrid_goes_on_where_all_cases_look_the_same():
    pool = [case(f"c{i}", features=[1.0]) for i in range(4)]
    assert len(choose("entropy_diversity", pool, 4, [case("done", features=[1.0])])) == 4


def structured(name: str, organ: float | None, lesion: float | None) -> Candidate:
    scores = {"predictive_entropy_organ": organ, "predictive_entropy_lesion": lesion}
    return Candidate(name, {key: value for key, value in scores.items() if value is not None})


def test_structures_take_turns_the_one_found_least_often_first():
    pool = [structured(f"o{i}", 0.9 - i / 10, None) for i in range(5)] + [structured("l", 0.01, 0.02)]
    choices = choose("class_stratified", pool, 3, number=9)
    assert choices[0].id == "l"
    assert "around lesion" in choices[0].reason
    assert ids(choices[1:]) == ["o0", "o1"]


def test_noise_is_that_of_powers_and_fades_with_the_rounds():
    """ln s + Gumbel / b is the largest with chance s^b / sum s^b."""
    pool = [structured("low", 0.2, None), structured("high", 0.6, None)]
    for number, chance in ((0, 0.75), (4, 1.0)):
        drawn = Counter(choose("class_stratified", pool, 1, number=number, seed=s)[0].id for s in range(2000))
        assert drawn["high"] / 2000 == pytest.approx(chance, abs=0.03)
    exponents = [power(number) for number in range(10)]
    assert exponents == sorted(exponents)
    assert (exponents[0], exponents[-1]) == (1.0, 100.0)


def test_an_unknown_strategy_is_named_with_those_there_are():
    with pytest.raises(InputError, match="no strategy 'best'; there are random, foreground_random"):
        find_strategy("best")
