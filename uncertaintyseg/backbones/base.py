"""The contract of a backbone: an image in, the features that enter the output layer out, and taps on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

from torch import Tensor, nn

from uncertaintyseg.errors import BundleError, InputError

NO_TAPS: Mapping[str, int] = MappingProxyType({})


class Backbone(nn.Module, ABC):
    """Base of all backbones; one without taps writes `forward` and sets the three numbers.

    Attributes:
        in_channels: image channels.
        features: channels F of the last features.
        divisor: window sizes must be multiples of this; one number, or one for each axis.
        taps: channels of the inner feature maps that `tapped` can hand out, by name, the coarsest first.
    """

    in_channels: int
    features: int
    divisor: int | Sequence[int]
    taps: Mapping[str, int] = NO_TAPS

    @property
    def given(self) -> nn.Module | None:
        """The part that came trained and never learns, however the rest is trained."""
        return None

    def train(self, mode: bool = True) -> Backbone:
        """Frozen, it stays in evaluation mode: batch normalisation would go on learning without any gradient."""
        return super().train(mode and any(parameter.requires_grad for parameter in self.parameters()))

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Image `[B, in_channels, *spatial]` to features `[B, features, *spatial]`."""

    def tapped(self, image: Tensor, names: Sequence[str]) -> tuple[Tensor, dict[str, Tensor]]:
        """The last features and the named taps `[B, taps[name], *coarser spatial]`, from one forward pass.

        One call at a time: a second thread on the same backbone would find its taps mixed up.

        Raises:
            BundleError: for a tap that the backbone does not have.
        """
        unknown = [name for name in names if name not in self.taps]
        if unknown:
            known = ", ".join(self.taps) or "none"
            raise BundleError(f"the backbone has no tap '{unknown[0]}' to name in the head's 'taps'; it has {known}.")
        return self._watched(image, {name: self.tap_module(name) for name in names})

    def _watched(self, image: Tensor, modules: Mapping[str, nn.Module]) -> tuple[Tensor, dict[str, Tensor]]:
        """The last features, and what entered some modules."""
        found: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
            return lambda module, inputs: found.__setitem__(name, inputs[0])

        with ExitStack() as hooks:
            for name, module in modules.items():
                hooks.enter_context(module.register_forward_pre_hook(keep(name)))
            features = self(image)
        return features, found

    def tail(self, convolutions: int) -> nn.Sequential:  # noqa: ARG002
        """Its last convolutions with all layers up to the last features; the weights are its own.

        Raises:
            InputError: for more convolutions than can be taken apart, or a backbone that cannot be.
        """
        raise InputError(
            f"a posterior deeper than the output layer needs a DynUNet that was trained here; {type(self).__name__} "
            "cannot be taken apart: leave 'depth' at 1."
        )

    def above(self, tail: nn.Sequential, image: Tensor) -> tuple[Tensor, Tensor]:
        """The last features `[B, features, *spatial]`, and what enters a tail of its own `[B, F', *spatial]`."""
        features, found = self._watched(image, {"tail": tail[0]})
        return features, found["tail"]

    def tap_module(self, name: str) -> nn.Module:
        """The module whose input is the tap `name`; for backbones that have taps."""
        raise NotImplementedError(f"{type(self).__name__} lists the tap '{name}' and does not say where it is.")


def check_dropout(rate: float | None) -> None:
    """Refuse a rate that is no chance to be dropped, or drops everything."""
    if rate is not None and not (isinstance(rate, int | float) and 0 <= rate < 1):
        raise BundleError(f"'dropout' is a chance from 0 to below 1, not {rate}.")
