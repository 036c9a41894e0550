"""Want of memory, however it shows, and what is tried then."""

from __future__ import annotations

import errno
from collections.abc import Iterator

from uncertaintyseg.errors import TooLargeError

_HALVINGS = 2
"""Windows go down to a quarter of their sides; an eighth of the memory each time."""
_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "failed to allocate",
    "alloc_failed",  # of cuBLAS and cuDNN
)


def attempts(device: str) -> Iterator[tuple[str, int]]:
    """Devices and how often the windows are halved, one after the other; the first is what was asked for."""
    for place in dict.fromkeys((device, "cpu")):
        for halvings in range(_HALVINGS + 1):
            yield place, halvings


def may_fit_otherwise(error: BaseException, device: str) -> bool:
    """Whether the next of `attempts` may do what failed; on the CPU the figures are told, for nothing else is left."""
    return is_out_of_memory(error) or (isinstance(error, TooLargeError) and device != "cpu")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, or came of one that does: libraries wrap what they meet."""
    return any(map(_says_so, causes(error)))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it came of, the first last."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _says_so(error: BaseException) -> bool:
    """Whether it is one of the errors for it; torch's own classes differ by device and version."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)
    )
