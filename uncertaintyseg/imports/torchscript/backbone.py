"""TorchScript networks: they are compiled, so their logits are all there is to build on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.errors import BundleError
from uncertaintyseg.imports.stock import Activation, StockNetwork
from uncertaintyseg.imports.torchscript.script import load_script

SCRIPT = Path("models") / "model.ts"


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
        BundleError: when the file is missing, is no TorchScript, or does more than compute.
    """
    return StockNetwork(load_script(Path(path)), divisor=divisor, activation=activation, output=output)


class ScriptBackbone(Backbone):
    """A TorchScript file, its logits as features.

    Its tensors stay in the file. What the model's weights hold in their place is the file's SHA-256: so the model's
    checksum covers it, and another file is refused.

    Args:
        script: path of the file.
        in_channels: image channels.
        channels: of its output; one is the logit, or probability, of a single structure.
        divisor: as for `StockNetwork`.
        activation: as for `StockNetwork`.

    Raises:
        BundleError: as `from_torchscript`; on loading weights, when the file is another than theirs.
    """

    def __init__(
        self,
        script: str | Path,
        in_channels: int,
        channels: int,
        divisor: int | Sequence[int] = 1,
        activation: Activation = "none",
    ) -> None:
        super().__init__()
        self.in_channels, self.features, self.divisor = in_channels, channels, divisor
        self.script = Path(script)
        self.network = from_torchscript(script, divisor=divisor, activation=activation).requires_grad_(False)
        own = hashlib.sha256(self.script.read_bytes()).digest()
        self.register_buffer("sha256", torch.tensor(list(own), dtype=torch.uint8))
        self.register_state_dict_post_hook(_without_network)
        self.register_load_state_dict_post_hook(lambda module, _: module.check(own))

    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, *spatial]` to logits `[B, channels, *spatial]`."""
        return self.network(image).distribution.mean

    def check(self, own: bytes) -> None:
        """Refuse a file, by its SHA-256, other than the one the weights were written for."""
        if bytes(self.sha256.tolist()) != own:
            raise BundleError(f"{self.script} is another file than the one that was imported: import it again.")


def _without_network(_: nn.Module, state: dict[str, Any], prefix: str, __: Any) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}network.")]:
        del state[name]
