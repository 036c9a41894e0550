"""Networks that are not ours, as they are: passes run on them and nothing of them is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import Tensor, nn

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.inference.bundle import METADATA, read_config
from uncertaintyseg.inference.passes.reuse import evaluating
from uncertaintyseg.logits import GaussianLogits

Activation = Literal["none", "softmax", "sigmoid"]
_TOLERANCE = 1e-2
"""What half precision may leave between probabilities and their sum of 1."""


class StockNetwork(nn.Module):
    """Any torch module that turns an image into logits, as a `Network`.

    It is run in evaluation mode; its weights, buffers and training flags stay as they are, whatever is done with this
    one's `train` and `eval`.

    Args:
        module: image `[B, channels, *spatial]` to logits `[B, C, *spatial]`, or a list of such (deep supervision).
        divisor: window sizes must be multiples of this.
        activation: what the module has already applied: with "softmax" or "sigmoid" the logits are read off its
            probabilities. One channel is the logit, or the probability, of a single structure.
        output: which of a list to take; most networks put the full resolution first.

    Raises:
        InputError: for another activation; on running, for an output that is not on the image's grid or no
            probabilities where they were announced.
    """

    def __init__(
        self, module: nn.Module, *, divisor: int | Sequence[int] = 1, activation: Activation = "none", output: int = 0
    ) -> None:
        super().__init__()
        if activation not in get_args(Activation):
            raise InputError(f"'activation' is '{activation}'; choose {', '.join(get_args(Activation))}.")
        self.module, self.divisor, self.activation, self.output = module, divisor, activation, output
        self.training = False

    def train(self, mode: bool = True) -> StockNetwork:
        """Does not reach the module: its mode is its owner's."""
        self.training = mode
        return self

    def forward(self, image: Tensor) -> HeadOutput:
        """Image `[B, channels, *spatial]` to all mass on the module's logits, float32."""
        with evaluating(self.module):
            found = self.module(image.clone())  # it may work on its input in place, and others still need the image
        if isinstance(found, list | tuple):
            if not -len(found) <= self.output < len(found):
                raise InputError(f"'output' is {self.output}, and this network gives a list of {len(found)}.")
            found = found[self.output]
        if not isinstance(found, Tensor) or found.ndim != image.ndim or found.shape[2:] != image.shape[2:]:
            shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise InputError(
                f"this network answers an image of shape {tuple(image.shape)} with {shape}; passes need logits "
                "[B, C, *spatial] on the same voxels ('output' picks one of a list)."
            )
        return HeadOutput(GaussianLogits(self._logits(found.float())))

    def _logits(self, found: Tensor) -> Tensor:
        if self.activation == "none":
            return found
        single = found.shape[1] == 1
        if self.activation == "sigmoid" and not single:
            raise InputError(
                f"this network gives {found.shape[1]} sigmoid channels, structures that may overlap; passes need "
                "classes that exclude each other: take one channel, or a network with a softmax."
            )
        total = torch.ones_like(found) if single else found.sum(1, keepdim=True)
        wrong = (found < -_TOLERANCE) | (found > 1 + _TOLERANCE) | ((total - 1).abs() > _TOLERANCE)
        if not torch.isfinite(found).all() or wrong.any():
            raise InputError(f"this network's output is no probability; its 'activation' is not '{self.activation}'.")
        tiny = torch.finfo(found.dtype).tiny
        if single:
            return found.clamp_min(tiny).log() - (1 - found).clamp_min(torch.finfo(found.dtype).eps).log()
        return found.clamp_min(tiny).log()


def from_monai_bundle(
    folder: str | Path, *, divisor: int | Sequence[int] | None = None, activation: Activation = "none", output: int = 0
) -> StockNetwork:
    """The network of anybody's MONAI bundle: `network_def` of its inference configuration with its weights.

    Weights are `models/model.safetensors` or `models/model.pt`, of which nothing but tensors is unpickled. The
    configuration is a program, as with every MONAI bundle: run only those that you trust.

    Args:
        folder: of the bundle.
        divisor: as for `StockNetwork`; None reads it from the metadata.
        activation: as for `StockNetwork`.
        output: as for `StockNetwork`.

    Raises:
        BundleError: for a folder without configuration or weights, weights of another network, or metadata that does
            not tell the divisor.
    """
    folder = Path(folder)
    path, network = _network(folder)
    weights = [folder / "models" / name for name in ("model.safetensors", "model.pt")]
    found = next((file for file in weights if file.is_file()), None)
    if found is None:
        script = " (there is a model.ts: use `from_torchscript`)" if (folder / "models" / "model.ts").is_file() else ""
        raise BundleError(
            f"{folder / 'models'} has neither model.safetensors nor model.pt{script}: download the weights."
        )
    _load(network, found, path)
    return StockNetwork(network, divisor=divisor or _divisor(folder), activation=activation, output=output)


def from_torchscript(
    path: str | Path, *, divisor: int | Sequence[int] = 1, activation: Activation = "none", output: int = 0
) -> StockNetwork:
    """A network saved as TorchScript. Its layers are compiled, so of the passes only "tta" and "noise" can run on it.

    Args:
        path: of the file.
        divisor: as for `StockNetwork`.
        activation: as for `StockNetwork`.
        output: as for `StockNetwork`.

    Raises:
        BundleError: when the file is missing or is no TorchScript.
    """
    path = Path(path)
    if not path.is_file():
        raise BundleError(f"there is no file {path}.")
    try:
        module = torch.jit.load(path, map_location="cpu")
    except (RuntimeError, ValueError) as error:
        raise BundleError(f"{path} is not a TorchScript file that this torch can read: {_first_line(error)}") from error
    return StockNetwork(module, divisor=divisor, activation=activation, output=output)


def _network(folder: Path) -> tuple[Path, nn.Module]:
    """The inference configuration of a bundle, and the network without weights that it describes."""
    names = ("inference.json", "inference.yaml", "inference.yml")
    path = next((folder / "configs" / name for name in names if (folder / "configs" / name).is_file()), None)
    if path is None:
        raise BundleError(f"{folder} is no MONAI bundle: its configs folder has no {' or '.join(names[:2])}.")
    try:
        parser = read_config(path)
    except BundleError:
        raise
    except Exception as error:  # PyYAML has a family of its own
        raise BundleError(f"{path} cannot be read: {_first_line(error)}") from error
    if "network_def" not in parser.get():
        raise BundleError(f"{path} has no 'network_def'.")
    parser["bundle_root"] = str(folder)
    try:
        network = parser.get_parsed_content("network_def")
    except (ImportError, KeyError, RuntimeError, ValueError) as error:
        raise BundleError(f"{path}: 'network_def' cannot be built: {_first_line(error)}") from error
    if not isinstance(network, nn.Module):
        raise BundleError(f"{path}: 'network_def' makes a {type(network).__name__} and no torch module.")
    return path, network


def _load(network: nn.Module, weights: Path, config: Path) -> None:
    """Fill a network with the weights of a file, all of them or none that count."""
    try:
        if weights.suffix == ".safetensors":
            load_model(network, weights)  # knows of tensors that have two names
        else:
            network.load_state_dict(_tensors(weights))
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{weights} is not a readable safetensors file ({error}): download it again.") from error
    except RuntimeError as error:
        reason = str(error).split("\n\t")[1:] or [str(error)]
        raise BundleError(
            f"{weights} holds the weights of another network than {config} describes: {' '.join(reason[0].split())}"
        ) from error


def _tensors(weights: Path) -> dict[str, Tensor]:
    """The state of a network in a file of torch.save: as it is, or in a checkpoint under "model" or "state_dict"."""
    try:
        state: Any = torch.load(weights, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises what it likes
        raise BundleError(
            f"{weights} is damaged or holds more than tensors, which are all that is ever unpickled: "
            "save the network's state_dict()."
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict):
        raise BundleError(f"{weights} holds a {type(state).__name__} and no state of a network: save its state_dict().")
    return state


def _divisor(folder: Path) -> tuple[int, ...]:
    """What window sizes must be multiples of, from the "spatial_shape" of the metadata: "16*n", "*" or one size."""
    path = folder / METADATA
    try:
        inputs = json.loads(path.read_text(encoding="utf-8"))["network_data_format"]["inputs"]
        shape = next(iter(inputs.values()))["spatial_shape"]
        return tuple(1 if size == "*" else int(re.fullmatch(r"(\d+)(\*n)?", str(size))[1]) for size in shape)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration) as error:
        raise BundleError(f"{path} does not tell which sizes the network takes; give 'divisor'.") from error


def _first_line(error: BaseException) -> str:
    while error.__cause__ is not None:  # MONAI wraps what went wrong
        error = error.__cause__
    return str(error).split("\n", maxsplit=1)[0]
