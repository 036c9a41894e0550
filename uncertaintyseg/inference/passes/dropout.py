"""Monte Carlo dropout: with the layers that a network has, or injected into one that has none (METHODS 5)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from uncertaintyseg.backbones.prompted import prompted
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads.dropout import keep_mask
from uncertaintyseg.inference.passes.base import Passes, seeded
from uncertaintyseg.inference.passes.ranges import PASSES, SEED, Range, check_ranges
from uncertaintyseg.inference.passes.reuse import Prefix, evaluating, hooked
from uncertaintyseg.logits import LogitDistribution
from uncertaintyseg.segmenter import Network, Segmenter

Granularity = Literal["channel", "element"]
LAYERS = (nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d, nn.ConvTranspose3d, nn.Linear)
"""Layers whose outputs injected dropout thins."""
_WHOLE_CHANNELS = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)
_ALPHA = (nn.AlphaDropout, nn.FeatureAlphaDropout)
_DROPOUTS = (nn.Dropout, *_WHOLE_CHANNELS, *_ALPHA)
_SELU_FLOOR = -1.7580993408473766
"""Where SELU saturates: what alpha dropout puts in place of a dropped value."""


class _RandomLayers(Passes):
    """Passes of a network some of whose layers have random outputs, everything else being as in evaluation.

    What comes before the first of them is computed once for an image (`reuse`): same maps, less time. One thread at a
    time may use the network meanwhile.
    """

    def __init__(self, network: Network, *, passes: int, reuse: bool, seed: int) -> None:
        super().__init__(network, passes=passes)
        if not isinstance(network, nn.Module):
            raise InputError(
                f"{self.name} needs the layers of a network; {type(network).__name__} has none: unwrap it."
            )
        if any(isinstance(part, torch.jit.ScriptModule) for part in network.modules()):
            raise InputError(f"{self.name} cannot reach into the layers of a TorchScript file; use 'tta' or 'noise'.")
        self.module: nn.Module = network
        self.reuse, self.seed = reuse, seed

    @abstractmethod
    def layers(self, image: Tensor) -> Sequence[nn.Module]:
        """The layers whose outputs are thinned."""

    @abstractmethod
    def thinned(self, layer: nn.Module, output: Tensor, generator: torch.Generator) -> Tensor:
        """The output of a layer with a mask on it."""

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        layers, generator, prefix = self.layers(image), seeded(self.seed, image), Prefix(self.module)

        def thin(layer: nn.Module, _: Any, output: Tensor) -> Tensor:
            prefix.differs()
            return self.thinned(layer, output, generator)

        for _ in range(self.passes):
            # Nothing stays switched on between two passes: whoever reads the stream may use the network too.
            # A network that is prompted keeps by itself what it has encoded.
            once = prefix.one_pass() if self.reuse and prompted(self.module) is None else nullcontext()
            with torch.no_grad(), evaluating(self.module), hooked(layers, thin), once:
                distribution = self.module(image).distribution
            yield distribution


class MCDropout(_RandomLayers):
    """The dropout layers that a network was trained with, left on (Gal and Ghahramani 2016).

    Only modules of torch.nn count: dropout that a `forward` calls as a function stays off.

    Args:
        network: a torch module.
        passes: how many.
        reuse: compute what comes before the first dropout once.
        seed: of the masks.

    Raises:
        InputError: for a network without dropout layers, or with none whose rate is above 0.
    """

    name = "mc_dropout"
    paper = "Gal and Ghahramani 2016"
    summary = "the network's own dropout layers, left on"

    def __init__(
        self,
        network: Network,
        *,
        passes: Annotated[int, Range(1, PASSES)] = 20,
        reuse: bool = True,
        seed: Annotated[int, Range(0, SEED)] = 0,
    ) -> None:
        check_ranges(MCDropout, locals())
        super().__init__(network, passes=passes, reuse=reuse, seed=seed)
        self._layers = [part for part in self.module.modules() if isinstance(part, _DROPOUTS) and part.p > 0]
        if not self._layers:
            raise InputError(
                "this network has no dropout layers with a rate above 0; use 'dropout_injection', which brings its own."
            )

    def layers(self, image: Tensor) -> Sequence[nn.Module]:  # noqa: ARG002 - they do not depend on it
        return self._layers

    def thinned(self, layer: nn.Module, output: Tensor, generator: torch.Generator) -> Tensor:
        """What the layer does in training; in evaluation its output is its input."""
        rate = float(layer.p)
        mask = keep_mask(output, rate, generator, 1 if isinstance(layer, _WHOLE_CHANNELS) else None)
        if isinstance(layer, _ALPHA):
            gain = ((1 - rate) * (1 + rate * _SELU_FLOOR**2)) ** -0.5 if rate < 1 else 0.0
            return gain * (torch.where(mask, output, _SELU_FLOOR) - rate * _SELU_FLOOR)
        return output * mask / (1 - rate) if rate < 1 else torch.zeros_like(output)


class DropoutInjection(_RandomLayers):
    """Dropout on the outputs of convolutions and linear layers of a network trained without (paper 001; METHODS 5.3).

    The output layer stays as it is: of a `Segmenter` the whole head, of another network the last such layer to run.
    `faithful` follows the authors' code instead (METHODS 5.2, A40): masks on every element, no rescaling, the output
    layer masked too, so that a share p of all logits is exactly 0.

    Of a network that is prompted (`backbones.PromptedBackbone`) the decoder's layers are thinned, so that a slice is
    encoded once for all passes; with `faithful`, or where `last` is given, the encoder's too.

    Args:
        network: a torch module.
        passes: how many; the paper says 30, its code takes 10 (METHODS A45).
        p: probability of dropping.
        granularity: "channel" drops whole feature maps, "element" single values.
        last: thin only the last so many layers (all where it is left out); the others then run once for all passes.
        faithful: see above.
        reuse: compute what comes before the first mask once.
        seed: of the masks.

    Raises:
        InputError: for options out of range; on reading, for a network none of whose layers can be thinned.
    """

    name = "dropout_injection"
    paper = "González Salas, Foundation models adapted without retraining"
    summary = "dropout put on the layers of a network trained without"

    def __init__(
        self,
        network: Network,
        *,
        passes: Annotated[int, Range(1, PASSES)] = 30,
        p: Annotated[float, Range(0, 0.99)] = 0.01,
        granularity: Granularity = "channel",
        last: Annotated[int | None, Range(1, 10_000)] = None,
        faithful: bool = False,
        reuse: bool = True,
        seed: Annotated[int, Range(0, SEED)] = 0,
    ) -> None:
        check_ranges(DropoutInjection, locals())
        super().__init__(network, passes=passes, reuse=reuse, seed=seed)
        if granularity not in {"channel", "element"}:
            raise InputError(f"'granularity' is '{granularity}'; choose 'channel' or 'element'.")
        self.p, self.granularity, self.last, self.faithful = p, granularity, last, faithful
        self._layers: Sequence[nn.Module] | None = None

    def layers(self, image: Tensor) -> Sequence[nn.Module]:
        """The layers that are thinned, in the order in which they run on this image; found out once, by running it."""
        if self._layers is None:
            layers = self._of_prompted() or _as_run(self.module, image)
            if not self.faithful:
                head = set(self.module.head.modules()) if isinstance(self.module, Segmenter) else set(layers[-1:])
                layers = [layer for layer in layers if layer not in head]
            if not layers:
                raise InputError(
                    "this network has no convolution or linear layer before its output layer: nothing to thin; "
                    "use 'tta' or 'noise'."
                )
            self._layers = layers if self.last is None else layers[-self.last :]
        return self._layers

    def _of_prompted(self) -> list[nn.Module]:
        backbone = prompted(self.module)
        return [] if backbone is None else backbone.layers(LAYERS, encoder=self.looks > 0)

    @property
    def looks(self) -> int:
        return self.passes if self.faithful or self.last is not None else 0

    def thinned(self, layer: nn.Module, output: Tensor, generator: torch.Generator) -> Tensor:
        whole = self.granularity == "channel" and not self.faithful
        channel = -1 if isinstance(layer, nn.Linear) else 1
        kept = output * keep_mask(output, self.p, generator, channel if whole else None)
        return kept if self.faithful else kept / (1 - self.p)


def _as_run(module: nn.Module, image: Tensor) -> list[nn.Module]:
    """Convolutions and linear layers in the order in which they last run."""
    order: dict[nn.Module, None] = {}

    def note(layer: nn.Module, *_: Any) -> None:
        order.pop(layer, None)
        order[layer] = None

    layers = [part for part in module.modules() if isinstance(part, LAYERS)]
    with torch.no_grad(), evaluating(module), hooked(layers, note):
        module(image)
    return list(order)
