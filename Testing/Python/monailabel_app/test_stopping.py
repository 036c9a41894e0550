"""The hint that further labels may not pay."""

from __future__ import annotations

from monailabel_app.app.stopping import WINDOW, stopping_hint
from uncertaintyseg import NUMBERS


def records(
    scores: list[float], model: str = "m", strategy: str = "predictive_entropy", numbers: int = NUMBERS
) -> list[dict]:
    return [
        {"strategy": {strategy: {"ts": ts, "score": s, "model": model, "numbers": numbers}}}
        for ts, s in enumerate(scores)
    ]


def hint(found: list[dict]) -> str | None:
    return stopping_hint(found, "predictive_entropy", "m")


def test_it_comes_once_the_last_scores_are_below_half_of_the_first():
    falling = [0.4] * WINDOW + [0.1] * WINDOW
    text = hint(records(falling)[::-1])  # the order of the records does not matter
    assert "had a mean score of 0.1 when they were served, the first 10 0.4" in text
    assert "check it on cases that nobody chose by score" in text
    assert hint(records([0.4] * WINDOW + [0.21] * WINDOW)) is None


def test_it_needs_enough_labels_of_the_same_model_and_strategy():
    falling = [0.4] * WINDOW + [0.1] * WINDOW
    assert hint(records(falling[1:])) is None
    assert hint(records(falling, model="other")) is None
    assert hint(records(falling, strategy="random")) is None


def test_scores_that_other_code_made_are_not_compared_with_those_of_today():
    falling = [0.4] * WINDOW + [0.1] * WINDOW
    assert hint(records(falling, numbers=NUMBERS - 1)) is None
    assert hint(records(falling[:WINDOW], numbers=NUMBERS - 1) + records(falling[WINDOW:])) is None


def test_records_without_notes_do_not_count():
    assert hint([{}, {"strategy": None}, {"strategy": {"predictive_entropy": 3}}] * 20) is None
