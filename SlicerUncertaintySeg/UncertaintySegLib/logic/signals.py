"""One object tells others that something has happened."""

from __future__ import annotations

from collections.abc import Callable


class Signal:
    """Calls whoever has connected, in that order."""

    def __init__(self) -> None:
        self._receivers: list[Callable[[], None]] = []

    def connect(self, receiver: Callable[[], None]) -> None:
        """Call `receiver` at every `emit` from now on."""
        self._receivers.append(receiver)

    def disconnect(self, receiver: Callable[[], None]) -> None:
        """Call it no more."""
        self._receivers = [other for other in self._receivers if other != receiver]

    def emit(self) -> None:
        """Call all receivers."""
        for receiver in list(self._receivers):
            receiver()
