"""How long the parts of a prediction take, and how long the windows that are left will."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

Progress = Callable[[str, float], None]
"""Called with a stage and the fraction done."""
_T = TypeVar("_T")
_FIRST, _SHARE = 0.05, 0.75
"""Of a prediction: what is done before the first window, and what the windows are."""


def window_progress(progress: Progress, part: int = 0, parts: int = 1) -> Callable[[int, int], None]:
    """Tells how many windows are done, and how long the rest will take where that is minutes.

    Args:
        progress: gets it in words, and the fraction done.
        part: how many networks are done already.
        parts: how many there are, each with about as many windows.
    """
    which = f"part {part + 1} of {parts}, " if parts > 1 else ""
    start = time.perf_counter()

    def tell(done: int, total: int) -> None:
        minutes = (time.perf_counter() - start) / done * (total * (parts - part) - done) / 60
        left = f", about {minutes:.0f} min left" if minutes >= 1 else ""
        progress(
            f"running the network, {which}{done} of {total} windows{left}",
            _FIRST + _SHARE * (part + done / total) / parts,
        )

    return tell


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the wall time of a block to a stage."""
    start = time.perf_counter()
    yield
    seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - start


def each_timed(seconds: dict[str, float], stage: str, items: Iterable[_T]) -> Iterator[_T]:
    """The items, with the time that each takes to come."""
    iterator = iter(items)
    while True:
        with timed(seconds, stage):
            item = next(iterator, None)
        if item is None:
            return
        yield item
