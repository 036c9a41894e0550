"""Want of memory, however it shows."""

from __future__ import annotations

_WORDS = (
    "out of memory",
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "bad_alloc",
    "failed to allocate",
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch's own classes for it differ by device and version."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)
    )
