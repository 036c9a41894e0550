"""Work that begins before it is asked for: the answer is there then, or is made as it would have been."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from typing import Any

from UncertaintySegLib.errors import UncertaintySegError

Json = dict[str, Any]


class Ahead:
    """Keeps the answer of the work that began last, until somebody asks for it; of what fails nobody is told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: list[object] | None = None  # in a list of its own for each work, which tells two of one key apart
        self._answer: Json | None = None

    def begin(self, key: object, work: Callable[[], Json | None]) -> None:
        """Do it in a thread, in place of what was kept before.

        Args:
            key: What `take` asks for.
            work: Returns the answer, None where somebody has to be asked first.
        """

        def run() -> None:
            with contextlib.suppress(UncertaintySegError, OSError):
                answer = work()
                with self._lock:
                    if self._key is mine:
                        self._answer = answer

        mine = [key]
        with self._lock:  # else an answer that comes just now would be kept under the new key
            self._key, self._answer = mine, None
        threading.Thread(target=run, daemon=True).start()

    def take(self, key: object) -> Json | None:
        """Return the answer, once; None where there is none, or not yet."""
        with self._lock:
            if self._key != [key] or self._answer is None:
                return None
            answer, self._key, self._answer = self._answer, None, None
            return answer
