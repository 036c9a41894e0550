"""Curvature of the convolutions below the output layer, approximately: a HEURISTIC that carries a diagonal backwards.

The squared-kernel recursion of LSN's "fast Hessian" (Zepf et al. 2024; METHODS 4.4), with a softmax and instance norms:
h, the diagonal of the Gauss-Newton matrix in the activations, goes back through y = J x as h_x = (J o J)^T h, which
forgets how different outputs move together. It is exact for the convolution before a 1x1x1 output layer, given the
statistics of the norm between them; deeper, single weights are off by factors (`Testing/.../test_recursion.py` records
them). The cost is about one backward pass.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from uncertaintyseg.errors import InputError

_ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Tanh)
_UNCHANGED = (nn.Identity, nn.Dropout, nn.Dropout3d)
"""Layers that do nothing in evaluation mode."""


def diagonal_ggn(
    tail: nn.Sequential, output: nn.Conv3d, inputs: Tensor, counted: Tensor | None = None
) -> dict[str, Tensor]:
    """Approximate diagonal of the Gauss-Newton matrix of the summed cross-entropy in a tail's convolution weights.

    Args:
        tail: in evaluation mode; convolutions, elementwise activations, dropout and instance norms, whose statistics
            count as constants and whose own parameters are left out.
        output: the 1x1x1 convolution behind it that makes the logits.
        inputs: `[B, F, *spatial]`.
        counted: bool `[B, *spatial]`, the voxels whose cross-entropy is summed; None: all.

    Returns:
        By the names of `tail.named_parameters()`, tensors of the parameters' shapes.

    Raises:
        InputError: for another layer.
    """
    found: dict[str, Tensor] = {}
    with torch.no_grad():
        p = output(tail(inputs)).softmax(1)
        weight = output.weight.flatten(1)
        squares, mean = (torch.einsum("cf,bc...->bf...", w, p) for w in (weight.square(), weight))
        h = squares - mean.square()
        _through(tail, "", inputs, h if counted is None else h * counted[:, None], found)
    return found


def _through(layer: nn.Module, prefix: str, x: Tensor, h: Tensor, found: dict[str, Tensor]) -> Tensor:
    """Back through a layer: adds to `found` and returns h at its input."""
    if isinstance(layer, nn.Sequential):
        inputs = [x]
        for part in layer:
            inputs.append(part(inputs[-1]))
        for (name, part), value in zip(reversed(list(layer.named_children())), reversed(inputs[:-1]), strict=True):
            h = _through(part, f"{prefix}{name}.", value, h, found)
        return h
    if isinstance(layer, nn.Conv3d):
        found.update(_of_weights(layer, prefix, x, h))
        squared = {"weight": layer.weight.square()} | _no_bias(layer)
        return _pulled_back(lambda value: torch.func.functional_call(layer, squared, value), x, h)
    if isinstance(layer, _ELEMENTWISE):
        return _pulled_back(layer, x, torch.ones_like(x)).square() * h
    if isinstance(layer, nn.InstanceNorm3d):
        scale = (x.flatten(2).var(2, correction=0) + layer.eps).rsqrt()
        scale = scale if layer.weight is None else scale * layer.weight
        return scale[..., None, None, None].square() * h
    if isinstance(layer, _UNCHANGED):
        return h
    raise InputError(f"the curvature recursion knows no way through '{prefix[:-1]}' ({type(layer).__name__}).")


def _of_weights(layer: nn.Conv3d, prefix: str, x: Tensor, h: Tensor) -> dict[str, Tensor]:
    """H_w = sum over voxels of h times the squared input that the weight meets there; H_b = sum of h."""

    def squared_inputs(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight} | _no_bias(layer), x.square())

    found = {f"{prefix}weight": _pulled_back(squared_inputs, layer.weight.detach(), h)}
    return found if layer.bias is None else found | {f"{prefix}bias": h.transpose(0, 1).flatten(1).sum(1)}


def _no_bias(layer: nn.Module) -> dict[str, Tensor]:
    return {} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)}


def _pulled_back(function: Callable[[Tensor], Tensor], x: Tensor, h: Tensor) -> Tensor:
    """J^T h."""
    return torch.func.vjp(function, x)[1](h)[0]
