"""When asking for more labels no longer seems to pay: a hint, and no more than that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mean
from typing import Any

from uncertaintyseg import NUMBERS

WINDOW = 10
SHARE = 0.5


def stopping_hint(records: Iterable[Mapping[str, Any]], strategy: str, model: str) -> str | None:
    """Compare the scores of the last labelled cases with those of the first, each as it was when it was served.

    Args:
        records: of the labelled images.
        strategy: only what it served counts.
        model: only its scores count; its weights may have changed meanwhile, which is the point. How scores are made
            may not (`NUMBERS`).

    Returns:
        A sentence once the mean score of the last ten is below half that of the first ten; else None.
    """
    served = []
    for record in records:
        notes = record.get("strategy")
        note = notes.get(strategy) if isinstance(notes, dict) else None
        if not isinstance(note, dict) or (note.get("model"), note.get("numbers")) != (model, NUMBERS):
            continue
        if isinstance(note.get("score"), (int, float)):
            served.append((note.get("ts") or 0, float(note["score"])))
    if len(served) < 2 * WINDOW:
        return None
    scores = [score for _, score in sorted(served)]
    first, last = mean(scores[:WINDOW]), mean(scores[-WINDOW:])
    if not last < SHARE * first:
        return None
    return (
        f"the last {WINDOW} labelled cases had a mean score of {last:.3g} when they were served, the first {WINDOW} "
        f"{first:.3g}: {model} finds little that is new to it, and further labels are unlikely to change it much. It "
        "cannot know what it does not see: check it on cases that nobody chose by score before you stop"
    )
