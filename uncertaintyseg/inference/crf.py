"""A conditional random field over the voxels of a volume, by mean field, in millimetres (METHODS 5.3)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Annotated

import torch
from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.ranges import Range
from uncertaintyseg.inference.stream.windows import Slab
from uncertaintyseg.logits import Moments
from uncertaintyseg.measures import predictive_entropy


@dataclass(frozen=True)
class CRF:
    """Draws labels of neighbours that look alike together, more so where the model was unsure.

    Mean field from Q = p: `iterations` times Q_i(l) ~ exp(-U_i(l) - weight sum_j k_ij (1 - Q_j(l))), with
    k_ij = exp(-|x_i - x_j|^2 / 2 sigma_mm^2 - |I_i - I_j|^2 / 2 sigma_intensity^2) of the voxels in reach,
    divided by sqrt(s_i s_j), s_i = sum_j k_ij. However many neighbours, memory stays at a few volumes.

    The paper's code (METHODS 5.2) has weight 10, no smoothness, and sigmas of 5 pixels and 5 grey values of 255.

    Attributes:
        weight: of neighbours that look alike; nats.
        sigma_mm: how far neighbours reach.
        sigma_intensity: how different they may look, in standard deviations of the image.
        smoothness: weight of the same kernel without the image; nats.
        radius_mm: neighbours further off are left out; None for 2 sigma_mm.
        reach: and so are those more than this many voxels away along an axis, which bounds the time on fine grids.
        iterations: of the mean field.
    """

    weight: Annotated[float, Range(0, 100)] = 3.0
    sigma_mm: Annotated[float, Range(0.1, 100)] = 3.0
    sigma_intensity: Annotated[float, Range(0.01, 100)] = 0.5
    smoothness: Annotated[float, Range(0, 100)] = 0.0
    radius_mm: Annotated[float | None, Range(0, 100)] = None
    reach: Annotated[int, Range(1, 10)] = 3
    iterations: Annotated[int, Range(0, 100)] = 5

    def __post_init__(self) -> None:
        for name in ("sigma_mm", "sigma_intensity", "radius_mm"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise InputError(f"the CRF's {name} must be positive; it is {value}.")
        for name in ("weight", "smoothness", "reach", "iterations"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise InputError(f"the CRF's {name} must not be negative; it is {getattr(self, name)}.")

    @torch.no_grad()
    def __call__(
        self, probability: Tensor, image: Tensor, spacing: Sequence[float], uncertainty: Tensor | None = None
    ) -> Tensor:
        """Refined probabilities `[B, C, *spatial]`.

        Args:
            probability: E[p], `[B, C, *spatial]`.
            image: `[B, channels, *spatial]`, in any unit.
            spacing: voxel size of each axis, mm.
            uncertainty: `[B, 1, *spatial]`, in any unit; where it is high, neighbours have more of a say. The same
                everywhere, or None: nowhere.

        Raises:
            InputError: for values that are not finite, shapes that do not fit, a volume of one slice, or voxels so
                large that no two are within the radius.
        """
        _check(probability, image, spacing, uncertainty)
        offsets = list(self._offsets(spacing))
        if not offsets:
            raise InputError(
                f"no two voxels of {' x '.join(f'{size:g}' for size in spacing)} mm are within the CRF's radius of "
                f"{self._radius:g} mm and reach of {self.reach}; choose a larger radius_mm, sigma_mm or reach."
            )
        share = torch.zeros_like(probability[:, :1]) if uncertainty is None else _scaled(uncertainty)
        energy = unary_energy(probability, share)
        kernels = [
            (weight, kernel, _messages(torch.ones_like(share), kernel, offsets))
            for weight, kernel in self._kernels(image, probability.dtype)
            if weight > 0
        ]
        q = probability
        for _ in range(self.iterations):
            # sum_j k_ij is the same for every class, so that agreement alone is left of k_ij (1 - Q_j).
            agreement = torch.zeros_like(energy)
            for weight, kernel, total in kernels:
                norm = total.clamp_min(torch.finfo(total.dtype).tiny).rsqrt()
                agreement.addcmul_(_messages(q * norm, kernel, offsets), weight * norm)
            q = agreement.sub_(energy).softmax(1)
        return q

    @property
    def _radius(self) -> float:
        return 2 * self.sigma_mm if self.radius_mm is None else self.radius_mm

    def _offsets(self, spacing: Sequence[float]) -> Iterator[tuple[tuple[int, ...], float]]:
        """One of each pair of opposite shifts within the radius, and ln of the spatial kernel there."""
        reach = [min(self.reach, int(self._radius / size * (1 + 1e-6))) for size in spacing]
        for shift in product(*(range(-r, r + 1) for r in reach)):
            squared = sum((step * size) ** 2 for step, size in zip(shift, spacing, strict=True))
            if shift > (0,) * len(shift) and squared <= self._radius**2 * (1 + 1e-6):
                yield shift, -squared / (2 * self.sigma_mm**2)

    def _kernels(self, image: Tensor, dtype: torch.dtype) -> Iterator[tuple[float, Tensor | None]]:
        spatial = tuple(range(2, image.ndim))
        spread = image.to(dtype).std(dim=spatial, keepdim=True) * self.sigma_intensity
        # A channel without contrast tells no voxels apart.
        looks = torch.where(spread > 0, image.to(dtype) / spread.clamp_min(torch.finfo(dtype).tiny), 0)
        yield self.weight, looks
        yield self.smoothness, None


@torch.inference_mode()
def drawn_together(
    slabs: Iterable[Slab],
    crf: CRF,
    image: Tensor,
    spacing: Sequence[float],
    variances: Sequence[int],
    *,
    flat: bool = False,
) -> Slab:
    """All planes of a model's grid after a CRF, as those of an answer that is certain.

    A voxel's label hangs on those of its neighbours, so all class probabilities are held at once. The unary is softened
    where the model's own entropy is high.

    Args:
        slabs: with averages of moments (`inference.stream`).
        crf: which.
        image: `[channels, *]`, the planes of the slabs.
        spacing: of its voxels, mm.
        variances: ids of the classes whose own variance is carried.
        flat: each slice of the last axis is an image, or a frame, by itself: its contrast, how unsure the model is
            elsewhere in it and its neighbours are all that counts.
    """
    found = list(slabs)
    first = found[0]
    whole = {name: torch.cat([slab.values[name] for slab in found], 1) for name in first.values}
    p = whole["probability"].movedim(1, first.axis + 1)[None]
    image = image.to(p)[None]
    refined = _by_slice(crf, p, image, spacing) if flat else crf(p, image, spacing, predictive_entropy(p))
    moments = Moments.of_probability(refined)
    drawn = {
        "probability": moments.probability[0],
        "squares": moments.second_moment[0].sum(0, keepdim=True),
        "second_moment": moments.second_moment[0][list(variances)],
        "expected_entropy": moments.expected_entropy[0],
    }
    planes_first = {name: value.movedim(first.axis + 1, 1) for name, value in drawn.items()}
    return first._replace(values=whole | planes_first)


def _by_slice(crf: CRF, probability: Tensor, image: Tensor, spacing: Sequence[float]) -> Tensor:
    """A CRF in each slice of the last axis."""
    slices = (
        (probability[..., number].contiguous(), image[..., number].contiguous())
        for number in range(probability.shape[-1])
    )
    return torch.stack([crf(p, look, spacing[:2], predictive_entropy(p)) for p, look in slices], -1)


def unary_energy(probability: Tensor, share: Tensor) -> Tensor:
    """U = (1 - q)(-ln p) + q ln C `[B, C, *spatial]`: the model's own energy, blended with that of knowing nothing.

    Args:
        probability: p, `[B, C, *spatial]`.
        share: q in [0, 1], `[B, 1, *spatial]`.
    """
    own = -probability.clamp_min(torch.finfo(probability.dtype).tiny).log()
    return (1 - share) * own + share * math.log(probability.shape[1])


def _messages(values: Tensor, looks: Tensor | None, offsets: Sequence[tuple[tuple[int, ...], float]]) -> Tensor:
    """sum_j k_ij values_j at every voxel i, one shift after another, each serving both directions."""
    out = torch.zeros_like(values)
    for shift, log_spatial in offsets:
        here, there = _overlap(shift)
        if looks is None:
            kernel = math.exp(log_spatial)
        else:
            kernel = (looks[here] - looks[there]).square_().sum(1, keepdim=True).mul_(-0.5).add_(log_spatial).exp_()
        out[here] += kernel * values[there]
        out[there] += kernel * values[here]
    return out


def _overlap(shift: Sequence[int]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Slices of `[B, C, *spatial]` in which voxel `i` of the first and `i + shift` of the second meet."""
    here = tuple(slice(max(-step, 0), -step if step > 0 else None) for step in shift)
    there = tuple(slice(max(step, 0), step if step < 0 else None) for step in shift)
    return (slice(None), slice(None), *here), (slice(None), slice(None), *there)


def _scaled(uncertainty: Tensor) -> Tensor:
    """From 0 at the smallest value of each volume to 1 at the largest; 0 where they are the same."""
    spatial = tuple(range(1, uncertainty.ndim))
    low, high = uncertainty.amin(spatial, keepdim=True), uncertainty.amax(spatial, keepdim=True)
    return (uncertainty - low) / torch.where(high > low, high - low, 1)


def _check(probability: Tensor, image: Tensor, spacing: Sequence[float], uncertainty: Tensor | None) -> None:
    batch, classes, *shape = probability.shape
    if classes < 2:
        raise InputError("a CRF needs probabilities of at least two classes, background included.")
    thin = [axis for axis, size in enumerate(shape) if size < 2]
    if thin:
        raise InputError(
            f"the volume has {shape[thin[0]]} voxel along axis {thin[0]}; a CRF needs the slices around it: pass the "
            "whole volume."
        )
    if len(spacing) != len(shape) or not all(math.isfinite(size) and size > 0 for size in spacing):
        raise InputError(f"the spacing {tuple(spacing)} is not {len(shape)} positive voxel sizes in mm.")
    for name, tensor in {"image": image, "uncertainty": uncertainty, "probability": probability}.items():
        if tensor is None:
            continue
        if tensor.shape[0] != batch or list(tensor.shape[2:]) != shape:
            raise InputError(
                f"the {name} has shape {tuple(tensor.shape)}, the probabilities {tuple(probability.shape)}."
            )
        if not torch.isfinite(tensor).all():
            raise InputError(f"the {name} holds values that are NaN or infinite; a CRF would spread them.")
    if uncertainty is not None and uncertainty.shape[1] != 1:
        raise InputError(f"the uncertainty has {uncertainty.shape[1]} channels; a CRF takes one.")
