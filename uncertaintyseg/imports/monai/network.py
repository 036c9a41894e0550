"""Networks of foreign MONAI bundles, with their weights, of which nothing but tensors is unpickled."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_model
from torch import nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.backbones.cut import CutBackbone
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.checkpoint import plain_state, read_checkpoint
from uncertaintyseg.imports.monai.program import Program, first_line, trusted_program
from uncertaintyseg.imports.stock import Activation, LogitsBackbone, StockNetwork
from uncertaintyseg.inference.bundle import METADATA


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
    program = Program(Path(folder))
    network = network_of(program)
    load_bundle_weights(network, program)
    divisor = divisor or read_divisor(program.folder)
    if divisor is None:
        raise BundleError(f"{program.folder / METADATA} does not tell which sizes the network takes; give 'divisor'.")
    return StockNetwork(network, divisor=divisor, activation=activation, output=output)


def backbone_of(network: nn.Module, layer: str | None, channels: int, divisor: int | Sequence[int]) -> Backbone:
    """A network of one image channel as a backbone; it is changed.

    Args:
        network: gives logits.
        layer: its output layer, which is cut off; None keeps it, and features are logits.
        channels: of its output.
        divisor: window sizes must be multiples of this.
    """
    if layer is None:
        return LogitsBackbone(StockNetwork(network, divisor=divisor), 1, channels)
    return CutBackbone(network, layer, 1, divisor)


def foreign_backbone(folder: str, layer: str | None, channels: int, divisor: int | Sequence[int]) -> Backbone:
    """The network of the trusted program in a model folder, without weights; otherwise as `backbone_of`.

    Raises:
        BundleError: for a program that was not trusted or has changed, or builds no network.
    """
    return backbone_of(network_of(trusted_program(folder)), layer, channels, divisor)


def network_of(program: Program) -> nn.Module:
    """The network that a program describes, without weights. This runs the program.

    Raises:
        BundleError: when it describes none.
    """
    network = program.built("network_def")
    if not isinstance(network, nn.Module):
        raise BundleError(f"{program.path}: 'network_def' makes a {type(network).__name__} and no torch module.")
    return network


def load_bundle_weights(network: nn.Module, program: Program) -> Path:
    """Fill a network with the weights of its bundle, all of them; returns the file.

    Raises:
        BundleError: for a file that is missing, damaged, holds more than tensors, or weights of another network.
    """
    models = program.folder / "models"
    weights = next((models / n for n in ("model.safetensors", "model.pt") if (models / n).is_file()), None)
    if weights is None:
        script = " (there is a model.ts: use `from_torchscript`, or import that file)"
        there = script if (models / "model.ts").is_file() else ""
        raise BundleError(f"{models} has neither model.safetensors nor model.pt{there}: download the weights.")
    try:
        if weights.suffix == ".safetensors":
            load_model(network, weights)  # knows of tensors that have two names
        else:
            state = read_checkpoint(weights)
            for key in ("model", "state_dict"):
                state = state[key] if isinstance(state.get(key), dict) else state
            network.load_state_dict(plain_state(state, weights))
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{weights} is not a readable safetensors file ({error}): download it again.") from error
    except RuntimeError as error:
        reason = str(error).split("\n\t")[1:] or [first_line(error)]
        raise BundleError(
            f"{weights} holds the weights of another network than {program.path} describes: "
            f"{' '.join(reason[0].split())}"
        ) from error
    return weights


def read_divisor(folder: Path) -> tuple[int, ...] | None:
    """What window sizes must be multiples of, from the "spatial_shape" of the metadata: "16*n", "*" or one size."""
    try:
        inputs = json.loads((folder / METADATA).read_text(encoding="utf-8"))["network_data_format"]["inputs"]
        shape = next(iter(inputs.values()))["spatial_shape"]
        return tuple(1 if size == "*" else int(re.fullmatch(r"(\d+)(\*n)?", str(size))[1]) for size in shape)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StopIteration):
        return None
