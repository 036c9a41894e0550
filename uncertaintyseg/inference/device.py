"""Where a network computes."""

from __future__ import annotations

import torch

from uncertaintyseg.errors import InputError

AUTO = "auto"


def chosen_device(name: str) -> str:
    """What `auto` is on this machine: a GPU where torch sees one, else the CPU; any other name is itself.

    The choice is part of a result's key, for a GPU's sums differ from a CPU's in their last digits.
    """
    if name != AUTO:
        return name
    return "cuda" if torch.cuda.is_available() else "cpu"


def checked_device(name: str) -> str:
    """The device that is meant, when torch can compute there.

    Raises:
        InputError: when it cannot.
    """
    device = chosen_device(name)
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device '{name}' cannot be used here; use auto or cpu, or cuda with a CUDA build of torch."
        ) from error
    return device
