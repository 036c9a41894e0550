"""What a worker process does: plain values that cross to it, and a `run`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Hashable
from dataclasses import replace
from typing import Any

Report = Callable[[str, float], None]
"""Told where the work stands: a stage in words, and the fraction done from 0 to 1."""


class Work(ABC):
    """A frozen dataclass of plain values. Neither it nor what it imports at the top may need torch or MONAI Label.

    Attributes:
        key: of the result that it ends with in the result store; None (as a class variable) when it ends elsewhere.
    """

    key: str | None

    @property
    def fills(self) -> str | None:
        """Key of the result whose folder it adds to: afterwards older ones may have to go."""
        return self.key

    @property
    def loads(self) -> tuple[Hashable, ...]:
        """What stays loaded in the process that did it, and need not be loaded again for such work."""
        return ()

    def on(self, device: str) -> Work:
        """The same work on a device; one for a device of another kind stays there, as its result would be another."""
        asked = getattr(self, "device", device)
        return self if asked == device or kind_of(asked) != kind_of(device) else replace(self, device=device)

    @property
    def files(self) -> Collection[str]:
        """Scans that it reads, which have to stay until it has ended."""
        return ()

    @abstractmethod
    def run(self, report: Report) -> Any:
        """Do it, in the worker process.

        Returns:
            For a work with a key, the key under which the result is: its own, or that of what had to stand in for it.
            Else anything small that can be sent back.

        Raises:
            UncertaintySegError: Something that a user can mend.
            MemoryError: There is not enough, on the device or on the machine.
        """


def kind_of(device: str) -> str:
    """Kind of a torch device, such as cpu or cuda: devices of a kind make the same results."""
    return device.partition(":")[0]
