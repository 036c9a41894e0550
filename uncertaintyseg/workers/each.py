"""Every item once, by whichever worker is free; a worker that dies is replaced, and its item repeated by another."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from uncertaintyseg.errors import StorageError, UncertaintySegError
from uncertaintyseg.workers.crew import Answer, Crew, Heard, Task

Item = TypeVar("Item")
Progress = Callable[[Any, str, float], None]
"""Told where an item stands: the item, a stage in words, and the fraction of it that is done."""
_DEATHS = 2
"""An item that so many workers died of is not given to another; workers that so often die before they are ready end
all."""


@dataclass(frozen=True)
class Outcome(Generic[Item]):
    """How an item ended.

    Attributes:
        item: that was given.
        answer: what the task made of it; None where it failed.
        error: why it failed, for people; None where it did not.
        died: whether workers died of it.
    """

    item: Item
    answer: Any = None
    error: str | None = None
    died: bool = False


def each(
    items: Sequence[Item],
    task: Task,
    crew: Crew,
    *,
    follow: Callable[[Outcome[Item]], Sequence[Item]] = lambda outcome: (),
    progress: Progress = lambda item, stage, fraction: None,
) -> Iterator[Outcome[Item]]:
    """Do a task with every item; outcomes come as they are there, in any order.

    An item whose worker died is given to another one: at once where the workers are of several machines, else at the
    end and with no other beside it, for what they share is memory. If that dies too it has failed. The crew is closed
    at the end, and also when the caller stops early.

    Args:
        items: plain values.
        task: what is done; it and the items have to cross to other processes.
        crew: who does it.
        follow: items that an outcome makes possible.
        progress: told of items at work.

    Raises:
        UncertaintySegError: no worker can get ready.
        StorageError: a disk is full.
    """
    with closing(crew):
        yield from _Round(task, crew, follow, progress).run(items)


@dataclass
class _Waiting(Generic[Item]):
    item: Item
    deaths: list[str] = field(default_factory=list)
    """How each worker died that had it."""


class _Round(Generic[Item]):
    """One call of `each`."""

    def __init__(
        self,
        task: Task,
        crew: Crew,
        follow: Callable[[Outcome[Item]], Sequence[Item]],
        progress: Progress,
    ) -> None:
        self.task, self.crew, self.follow, self.progress = task, crew, follow, progress
        self.waiting: deque[_Waiting[Item]] = deque()
        self.alone: deque[_Waiting[Item]] = deque()
        """What killed a worker that shared its memory with others: done one at a time when nothing else is left."""
        self.numbers: dict[Hashable, int] = {}
        self.idle: list[Hashable] = []
        self.busy: dict[Hashable, _Waiting[Item]] = {}
        self.size = crew.size
        self.stillborn = 0

    def run(self, items: Sequence[Item]) -> Iterator[Outcome[Item]]:
        """Do all."""
        self.waiting += map(_Waiting, items)
        while self.waiting or self.alone or self.busy:
            self._man()
            self._hand_out()
            for heard in self.crew.hear():
                yield from self._take(heard)

    def _man(self) -> None:
        """Start workers as long as there is more to do than there are."""
        if self._lonely:
            for worker in self.idle[1:]:
                self.crew.end(worker)
                del self.numbers[worker]
            del self.idle[1:]
        wanted = 1 if self._lonely else min(self.size, len(self.waiting) + len(self.busy))
        free = sorted(set(range(self.crew.size)) - set(self.numbers.values()))
        for number in free[: max(0, wanted - len(self.numbers))]:
            self.numbers[self.crew.start(number, self.task)] = number

    @property
    def _lonely(self) -> bool:
        """Whether nothing is left but what is done alone."""
        return bool(self.alone) and not self.waiting and not self.busy

    def _hand_out(self) -> None:
        source = self.alone if self._lonely else self.waiting
        while self.idle and source:
            worker = self.idle.pop(0)
            self.busy[worker] = source.popleft()
            self.crew.give(worker, self.busy[worker].item)
            if source is self.alone:
                return

    def _take(self, heard: Heard) -> Iterator[Outcome[Item]]:
        if heard.kind == "progress" and heard.worker in self.busy:
            self.progress(self.busy[heard.worker].item, *heard.value)
        elif heard.kind == "ready":
            self.stillborn = 0
            self.idle.append(heard.worker)
        elif heard.kind == "answer":
            yield from self._answered(heard.worker, heard.value)
        elif heard.kind == "died":
            yield from self._buried(heard.worker, heard.value)

    def _answered(self, worker: Hashable, answer: Answer) -> Iterator[Outcome[Item]]:
        waiting = self.busy.pop(worker, None)
        if waiting is None:  # it could not prepare, so no other can
            raise UncertaintySegError(answer.value)
        if answer.kind == "full":
            raise StorageError(answer.value)
        self.idle.append(worker)
        failed = answer.kind != "answer"
        outcome = Outcome(
            waiting.item,
            None if failed else answer.value,
            error=answer.value if failed else None,
        )
        yield from self._ended(outcome)

    def _buried(self, worker: Hashable, how: str) -> Iterator[Outcome[Item]]:
        del self.numbers[worker]
        if worker in self.idle:
            self.idle.remove(worker)
            return
        waiting = self.busy.pop(worker, None)
        if waiting is None:
            self._stillborn(how)
            return
        waiting.deaths.append(how)
        if len(waiting.deaths) < _DEATHS:
            (self.alone if self.crew.shared_memory else self.waiting).append(waiting)
            return
        text = (
            f"{len(waiting.deaths)} workers died of it ({'; '.join(dict.fromkeys(waiting.deaths))}), perhaps for want "
            "of memory or because a file is damaged. Free memory, copy the files again, or leave it out."
        )
        yield from self._ended(Outcome(waiting.item, error=text, died=True))

    def _stillborn(self, how: str) -> None:
        """Try again once, then go on with those that are there."""
        self.stillborn += 1
        if self.stillborn < _DEATHS:
            return
        if not self.numbers:
            raise UncertaintySegError(
                f"workers {self.crew.where} die before they are ready ({how}), perhaps for want of memory: free "
                "memory, or use fewer workers. What is done is kept."
            )
        self.size = len(self.numbers)

    def _ended(self, outcome: Outcome[Item]) -> Iterator[Outcome[Item]]:
        yield outcome
        self.waiting += map(_Waiting, self.follow(outcome))
