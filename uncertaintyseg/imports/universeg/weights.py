"""UniverSeg's weights: tensors of known names, from a file or from a model of ours; nothing else is ever unpickled."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from uncertaintyseg.backbones import UniverSeg
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.checkpoint import plain_state, read_checkpoint

SUFFIXES = {".pt", ".pth", ".ckpt", ".safetensors"}
_MARK = b"cross_conv"
"""In the names of its tensors, and of no other network's."""
_START = 2**20
_PREFIX = "backbone.network."
_WAY_OUT = "Give the published file, or one of the same network."


def looks_like(path: Path) -> bool:
    """Whether a file holds the names of UniverSeg's tensors; nothing of it is unpickled."""
    if path.suffix.lower() not in SUFFIXES or not path.is_file():
        return False
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [name for name in archive.namelist() if name.endswith("data.pkl")]
                if any("/code/" in name for name in archive.namelist()) or not names:
                    return False
                with archive.open(names[0]) as file:
                    return _MARK in file.read(_START)
        with path.open("rb") as file:
            return _MARK in file.read(_START)
    except (OSError, zipfile.BadZipFile, RuntimeError, NotImplementedError):
        return False


def read_network(path: Path) -> UniverSeg:
    """The network of a file of weights, or of the weights of a model of ours, in evaluation mode.

    Raises:
        BundleError: when the file is damaged, holds more than tensors and numbers, or the weights of another network.
    """
    if path.suffix.lower() == ".safetensors":
        try:
            state: Mapping[str, Tensor] = load_file(path)
        except (SafetensorError, OSError) as error:
            raise BundleError(f"{path} is not a readable safetensors file ({error}): copy it again.") from error
        own = {name.removeprefix(_PREFIX): v for name, v in state.items() if name.startswith(_PREFIX)}
        state = own or state
    else:
        found = read_checkpoint(path)
        state = plain_state(found.get("state_dict", found), path)
    network = UniverSeg(_widths(state, path))
    wanted = {name: value.shape for name, value in network.state_dict().items()}
    wrong = [name for name in {**wanted, **state} if name not in state or state[name].shape != wanted.get(name)]
    if wrong:
        raise BundleError(
            f"{path.name} in {path.parent.name} holds the weights of another network than UniverSeg: {len(wrong)} "
            f"tensors differ, first '{wrong[0]}'. {_WAY_OUT}"
        )
    network.load_state_dict({name: value.float() for name, value in state.items()})
    return network.eval()


def _widths(state: Mapping[str, Tensor], path: Path) -> list[int]:
    """Features of the levels."""
    pattern = re.compile(r"enc_blocks\.(\d+)\.cross\.cross_conv\.weight")
    levels = {int(match[1]): len(value) for name, value in state.items() if (match := pattern.fullmatch(name))}
    if len(levels) < 2 or sorted(levels) != list(range(len(levels))):
        raise BundleError(
            f"{path.name} in {path.parent.name} holds no weights of UniverSeg, which have tensors such as "
            f"'enc_blocks.0.cross.cross_conv.weight'. {_WAY_OUT}"
        )
    return [levels[level] for level in sorted(levels)]
