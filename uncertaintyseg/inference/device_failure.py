"""A device that does not compute any more, however it shows."""

from __future__ import annotations

from uncertaintyseg.inference.out_of_memory import causes, is_out_of_memory

_WORDS = (
    "cuda error",
    "cuda driver error",
    "cuda unknown error",
    "cudnn error",
    "cufft error",
    "cusolver error",
    "hip error",
    "no cuda gpus are available",
    "found no nvidia driver",
)


def is_device_failure(error: BaseException) -> bool:
    """Whether an error says that a GPU failed, or came of one that does; want of its memory is no such failure.

    What still computes in the process is not to be relied on afterwards.
    """
    return any(map(_says_so, causes(error))) and not is_out_of_memory(error)


def _says_so(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(word in text for word in _WORDS)
