"""Checkpoints of other programs: tensors, numbers and texts are read from them, and nothing else is ever unpickled."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError

_PREFIXES = ("module.", "_orig_mod.")
"""What data parallelism and `torch.compile` put before the names of tensors."""


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What a file of `torch.save` holds: tensors, plain values and numpy's numbers and arrays of numbers.

    Raises:
        BundleError: when it is cut short, or holds more than that.
    """
    try:
        with torch.serialization.safe_globals(_numpy_globals()):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises what it likes
        reason = str(error).strip().split("\n", maxsplit=1)[0]
        raise BundleError(
            f"{path.name} in {path.parent.name} is cut short, or holds more than tensors and numbers, which are all "
            f"that is ever unpickled: copy it again from where it was trained. ({reason[:200]})"
        ) from error
    if not isinstance(found, dict):
        raise BundleError(f"{path.name} in {path.parent.name} holds a {type(found).__name__} and no checkpoint.")
    return found


def plain_state(state: object, path: Path) -> dict[str, Tensor]:
    """The tensors of a network by the names that its modules have.

    Raises:
        BundleError: when it is no state of a network.
    """
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(value, Tensor) for name, value in state.items()
    ):
        raise BundleError(f"{path.name} in {path.parent.name} holds no weights of a network: copy it again.")
    return {_stripped(name): value for name, value in state.items()}


def load_strictly(network: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Fill a network with the tensors of a checkpoint, each of them and no other.

    Raises:
        BundleError: when names or shapes differ.
    """
    wanted = network.state_dict()
    wrong = [n for n, v in wanted.items() if n not in state or state[n].shape != v.shape]
    wrong += [name for name in state if name not in wanted]
    if wrong:
        raise BundleError(
            f"{path.name} in {path.parent.name} holds the weights of another network than plans.json describes: "
            f"{len(wrong)} tensors differ, first '{wrong[0]}'. Take plans.json and checkpoint of the same training."
        )
    network.load_state_dict(dict(state))


def file_sha256(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stripped(name: str) -> str:
    while name.startswith(_PREFIXES):
        name = name.split(".", maxsplit=1)[1]
    return name


def _numpy_globals() -> list[Any]:
    """What pickled numbers and arrays of numpy are made of, under the names of numpy 1 and numpy 2."""
    multiarray = sys.modules.get("numpy._core.multiarray") or sys.modules["numpy.core.multiarray"]
    makers = [
        (getattr(multiarray, name), f"numpy.{core}.multiarray.{name}")
        for name in ("scalar", "_reconstruct")
        for core in ("core", "_core")
    ]
    return [*makers, np.dtype, np.ndarray, *{type(np.dtype(kind)) for kind in "?bBhHiIlLqQefdSU"}]
