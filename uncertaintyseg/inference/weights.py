"""Weights of networks as safetensors; nothing is unpickled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from uncertaintyseg.errors import BundleError

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_weights(network: nn.Module, path: Path, *, part: str = "") -> None:
    """Load safetensors weights into a network; nothing is unpickled.

    Args:
        network: to be filled.
        path: the file.
        part: load only names that begin so, e.g. "backbone."; the rest of the network keeps its values.

    Raises:
        BundleError: when the file is missing or damaged, or a name or shape differs.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise BundleError(f"{path} is missing: train the model first (uncertaintyseg train {path.parts[-3]} DATA).")
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{path} is not a readable safetensors file ({error}); restore it from a backup.") from error
    found = {name: value for name, value in state.items() if name.startswith(part)}
    _fill(network, found, part, f"{path} holds")


def copy_weights(network: nn.Module, other: nn.Module, what: str) -> None:
    """Give a network, or a part of one, the weights of another.

    Args:
        network: to be filled.
        other: whose weights they are.
        what: the other is, for messages.

    Raises:
        BundleError: when a name or shape differs.
    """
    _fill(network, _state(other), "", f"{what} has")


def _fill(network: nn.Module, found: dict[str, Tensor], part: str, who: str) -> None:
    wanted = {name: value.shape for name, value in _state(network).items() if name.startswith(part)}
    wrong = [n for n in wanted if n not in found or found[n].shape != wanted[n]] + [n for n in found if n not in wanted]
    if wrong:
        raise BundleError(
            f"{who} the weights of another architecture ({len(wrong)} tensors differ, first '{wrong[0]}'): use the "
            "configs it was trained with, or train again."
        )
    network.load_state_dict(found, strict=False)  # complete by the check above; second names follow the first


def _state(network: nn.Module) -> dict[str, Tensor]:
    """The tensors of a network by name, each once: MONAI's DynUNet registers its blocks twice."""
    state, seen = {}, set()
    for name, value in network.state_dict().items():
        if value.data_ptr() not in seen:
            seen.add(value.data_ptr())
            state[name] = value
    return state


def save_weights(network: nn.Module, path: Path, *, part: str = "", exact: bool = False) -> None:
    """Write a network's weights as safetensors, all or nothing.

    Parameters are written in half precision (half the size, same figures); buffers, such as statistics and fitted
    posteriors, as they are: their range may exceed it.

    Args:
        network: whose weights.
        path: the file.
        part: write only names that begin so.
        exact: keep parameters as they are too; an imported network has to say what it said at home.
    """
    from safetensors.torch import save

    from uncertaintyseg.data.writing import write_bytes

    state = [(name, value) for name, value in _state(network).items() if name.startswith(part)]
    kept = {name for name, _ in state} if exact else {n for n, _ in network.named_buffers(remove_duplicate=False)}
    write_bytes(path, save({name: (v if name in kept else v.half()).contiguous() for name, v in state}))
