"""What a task is to a worker, and what workers are to whoever hands out the items."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Report = Callable[[str, float], None]
"""Told where an item stands: a stage in words, and the fraction done from 0 to 1."""
Do = Callable[[Any, Report], Any]
"""What a worker does with an item."""


class Task(ABC):
    """What crosses to a worker once: plain values, and how it gets ready.

    Neither it nor what it imports at the top may need torch.
    """

    @abstractmethod
    def prepare(self, worker: int) -> Do:
        """Get ready in the worker, such as load a model; what comes back is called with each item.

        Args:
            worker: number of the worker from 0; one that replaces another has its number.

        Raises:
            UncertaintySegError: this worker can do none of it.
        """


@dataclass(frozen=True)
class Answer:
    """What a worker says at the end of an item.

    Attributes:
        kind: "answer" with what `Do` returned; "unusable" with the message of an `InputError`, which is the item's
            fault; "full" with that of a `StorageError`, which all others would meet too; "wrong" with any other's.
        value: the answer, or the message.
    """

    kind: Literal["answer", "unusable", "full", "wrong"]
    value: Any


class Heard(NamedTuple):
    """What came from a worker: that it is ready, where its item stands, its answer, or that it is no more.

    A worker that cannot prepare sends an `Answer` of kind "wrong" before it is ready.
    """

    worker: Hashable
    kind: Literal["ready", "progress", "answer", "died"]
    value: Any = None
    """A pair (stage, fraction), an `Answer`, or how it died, in words."""


class Crew(ABC):
    """Workers of one kind.

    Attributes:
        size: how many there should be.
        shared_memory: whether they share the memory of one machine: an item that killed one is repeated alone.
        where: where they are, for people.
    """

    size: int
    shared_memory: bool
    where: str

    @abstractmethod
    def start(self, number: int, task: Task) -> Hashable:
        """Start a worker, which gets ready by itself; does not wait for that.

        Args:
            number: of the worker.
            task: that it gets ready for.

        Returns:
            A handle for it, which is in everything that is heard of it.
        """

    @abstractmethod
    def give(self, worker: Hashable, item: Any) -> None:
        """Give an item to a worker that is ready and has none. One that is dead by now is heard of as such."""

    @abstractmethod
    def hear(self) -> list[Heard]:
        """Wait until something comes from a worker; an empty list now and then, where nothing does for seconds.

        Raises:
            UncertaintySegError: nothing can come any more.
        """

    @abstractmethod
    def end(self, worker: Hashable) -> None:
        """End a worker, whatever it is at. Nothing is heard of it afterwards."""

    @abstractmethod
    def close(self) -> None:
        """End all workers, whatever they are at. A second call does nothing."""
