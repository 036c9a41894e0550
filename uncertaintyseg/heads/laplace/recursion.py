"""Curvature of deeper layers, approximately: a HEURISTIC that carries only a diagonal backwards (METHODS 4.4).

The squared-kernel recursion of LSN's "fast Hessian" (Zepf et al. 2024), here in 3D, with strides, norms, transposed
convolutions and a softmax: h, the diagonal of the Gauss-Newton matrix in the activations, goes back through y = J x as
h_x = (J o J)^T h, which forgets how different outputs move together. It is exact for a last 1x1x1 convolution and for
the convolution before it when only elementwise layers lie between; deeper, single weights are off by factors
(`Testing/.../test_recursion.py` records them). The cost is about one backward pass.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from monai.networks.layers import SkipConnection
from torch import Tensor, nn

from uncertaintyseg.errors import InputError

_ELEMENTWISE = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Sigmoid, nn.Tanh)
_NORMS = (nn.BatchNorm3d, nn.InstanceNorm3d)
_ROUTING = (nn.Identity, nn.Dropout, nn.Dropout3d, nn.MaxPool3d)
"""Layers that pass each value on as it is, or not at all: J holds zeros and ones."""


def diagonal_ggn(network: nn.Sequential, inputs: Tensor) -> dict[str, Tensor]:
    """Approximate diagonal of the Gauss-Newton matrix of the summed cross-entropy in every convolution's parameters.

    Args:
        network: in evaluation mode, ending in the 1x1x1 convolution that makes the logits; made of convolutions
            (transposed too), elementwise activations, batch and instance norms (their statistics count as constants,
            their own parameters are left out), nearest and trilinear upsampling, max-pooling, and MONAI's
            `SkipConnection` ("cat" or "add").
        inputs: `[B, F, *spatial]`.

    Returns:
        By the names of `network.named_parameters()`, tensors of the parameters' shapes.

    Raises:
        InputError: for another layer, or a network that does not end in a 1x1x1 convolution.
    """
    layers = dict(network.named_children())
    *_, (last, output) = layers.items()
    if not isinstance(output, nn.Conv3d) or output.weight.shape[2:].numel() != 1:
        raise InputError(f"the network ends in {type(output).__name__}; the recursion starts at a 1x1x1 convolution.")
    network.eval()
    with torch.no_grad():
        before = nn.Sequential(*list(network)[:-1])
        features = before(inputs)
        p = output(features).softmax(1)
        found = dict(_of_weights(output, f"{last}.", features, p * (1 - p)))
        weight = output.weight.flatten(1)
        squares, mean = (torch.einsum("cf,bc...->bf...", w, p) for w in (weight.square(), weight))
        layers.pop(last)
        _through_all(layers, "", inputs, squares - mean.square(), found)
    return found


def _through_all(layers: dict[str, nn.Module], prefix: str, x: Tensor, h: Tensor, found: dict[str, Tensor]) -> Tensor:
    """Back through layers that follow one another; adds to `found` and returns h at their input."""
    inputs = [x]
    for layer in layers.values():
        inputs.append(layer(inputs[-1]))
    for (name, layer), value in zip(reversed(layers.items()), reversed(inputs[:-1]), strict=True):
        h = _through(layer, f"{prefix}{name}.", value, h, found)
    return h


def _through(layer: nn.Module, prefix: str, x: Tensor, h: Tensor, found: dict[str, Tensor]) -> Tensor:
    if isinstance(layer, nn.Sequential):
        return _through_all(dict(layer.named_children()), prefix, x, h, found)
    if isinstance(layer, SkipConnection):
        return _through_skip(layer, prefix, x, h, found)
    if isinstance(layer, nn.Conv3d | nn.ConvTranspose3d):
        found.update(_of_weights(layer, prefix, x, h))
        squared = {"weight": layer.weight.square()} | _no_bias(layer)
        return _pulled_back(lambda value: torch.func.functional_call(layer, squared, value), x, h)
    if isinstance(layer, (*_ELEMENTWISE, *_NORMS)):
        return _slope(layer, x).square() * h
    if isinstance(layer, _ROUTING):
        return _pulled_back(layer, x, h)
    if isinstance(layer, nn.Upsample) and layer.mode in ("nearest", "trilinear"):
        return _through_upsampling(layer, x, h)
    raise InputError(f"the curvature recursion knows no way through '{prefix[:-1]}' ({type(layer).__name__}).")


def _through_skip(layer: SkipConnection, prefix: str, x: Tensor, h: Tensor, found: dict[str, Tensor]) -> Tensor:
    if layer.mode == "cat" and layer.dim == 1:
        around, inside = h.split([x.shape[1], h.shape[1] - x.shape[1]], dim=1)
    elif layer.mode == "add":
        around = inside = h
    else:
        raise InputError(f"the curvature recursion knows no skip connection that joins by '{layer.mode}'.")
    return around + _through(layer.submodule, f"{prefix}submodule.", x, inside, found)


def _of_weights(
    layer: nn.Conv3d | nn.ConvTranspose3d, prefix: str, x: Tensor, h: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """H_w = sum over voxels of h times the squared input that the weight meets there; H_b = sum of h."""

    def squared_inputs(weight: Tensor) -> Tensor:
        return torch.func.functional_call(layer, {"weight": weight} | _no_bias(layer), x.square())

    yield f"{prefix}weight", _pulled_back(squared_inputs, layer.weight.detach(), h)
    if layer.bias is not None:
        yield f"{prefix}bias", h.transpose(0, 1).flatten(1).sum(1)


def _no_bias(layer: nn.Module) -> dict[str, Tensor]:
    return {} if layer.bias is None else {"bias": torch.zeros_like(layer.bias)}


def _pulled_back(function: object, x: Tensor, h: Tensor) -> Tensor:
    """J^T h."""
    return torch.func.vjp(function, x)[1](h)[0]


def _slope(layer: nn.Module, x: Tensor) -> Tensor:
    """Dy / dx of an elementwise layer or, its statistics held fixed, of a norm; to be multiplied with x's shape."""
    if isinstance(layer, _ELEMENTWISE):
        return _pulled_back(layer, x, torch.ones_like(x))
    batch = isinstance(layer, nn.BatchNorm3d)
    scale = ((layer.running_var[None] if batch else x.flatten(2).var(2, correction=0)) + layer.eps).rsqrt()
    return (scale if layer.weight is None else scale * layer.weight)[..., None, None, None]


def _through_upsampling(layer: nn.Upsample, x: Tensor, h: Tensor) -> Tensor:
    """Interpolation is a matrix for each axis, and the square of their product that of the squares."""
    for axis, (coarse, fine) in enumerate(zip(x.shape[2:], h.shape[2:], strict=True), start=2):
        unit = torch.eye(coarse, dtype=x.dtype, device=x.device)[None]
        mode = "linear" if layer.mode == "trilinear" else layer.mode
        matrix = nn.functional.interpolate(unit, size=fine, mode=mode, align_corners=layer.align_corners)[0]
        h = torch.tensordot(h, matrix.square(), ([axis], [1])).movedim(-1, axis)
    return h
