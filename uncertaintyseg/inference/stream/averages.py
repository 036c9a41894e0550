"""What windows average of a network's answers, and what the averages become before and after they reach the scan.

A distribution over logits averages its moments (METHODS 1.7) and is reduced to maps on the model's grid, of which the
scan's grid gets interpolated values. A network without a distribution of its own averages logits, as nnU-Net does, and
label, probabilities, entropy, margin and error are read off the logits on the scan's grid (docs/adr/0011); how far its
members disagree comes from their own moments.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, combinations
from typing import NamedTuple

import torch
from torch import Tensor

from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.logits import Moments
from uncertaintyseg.measures import margin_risk, predictive_entropy, voxel_maps
from uncertaintyseg.segmenter import Network, Segmenter

_BLOCK = 2**22
"""Voxels x classes of a window that a head works on at once, so that no window's moments exist as a whole."""


class Contribution(NamedTuple):
    """What planes of a window add to the averages.

    Attributes:
        planes: of the window's first axis.
        share: of the window's weight that it counts with.
        values: by name, `[k, planes, *other axes]`.
    """

    planes: slice
    share: float
    values: Mapping[str, Tensor]


class OnScan(NamedTuple):
    """What is known of some voxels of the scan.

    Attributes:
        probability: E[p] `[C, *]`; all background outside the field of view.
        maps: by name, `[*]`, 0 outside the field of view; `variance_<id>` is that of the class id.
        label: class ids `[*]` where they are not those of the largest probability.
    """

    probability: Tensor
    maps: Mapping[str, Tensor]
    label: Tensor | None = None


Activation = Callable[[Tensor], tuple[Tensor, Tensor | None]]
"""Logits `[C, *]` to probabilities `[C, *]`, and class ids `[*]` where they are not those of the largest."""


def softmax(logits: Tensor) -> tuple[Tensor, None]:
    """The activation of classes that exclude each other."""
    return logits.softmax(0), None


class Average(ABC):
    """Base of what windows average.

    Args:
        classes: C, background included.
        variances: ids of the classes whose own variance is carried.
    """

    def __init__(self, classes: int, variances: Sequence[int] = ()) -> None:
        self.classes, self.variances = classes, list(variances)

    @abstractmethod
    def read(self, patch: Tensor) -> Iterator[Contribution]:
        """What a window `[1, channels, *window]` adds to the averages."""

    @abstractmethod
    def reduced(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Averages `[k, *]` of voxels of the model's grid as they are to be interpolated."""

    @abstractmethod
    def on_scan(self, values: Mapping[str, Tensor], inside: Tensor | None) -> OnScan:
        """What interpolated values `[k, *]` say.

        Args:
            values: what `reduced` gave, on the scan's grid; anything outside the field of view.
            inside: which voxels are in the field of view `[*]`; None: all.
        """

    @property
    def carried(self) -> int:
        """How many numbers a voxel carries from window to window, beside the head's own maps and features."""
        return self.classes + 2 + len(self.variances)

    def _moments(self, moments: Moments) -> dict[str, Tensor]:
        """E[p] `[C]`, the sum over classes of E[p^2] `[1]`, E[p^2] of the chosen classes and E[H] `[1]`."""
        second = moments.second_moment[0]
        return {
            "probability": moments.probability[0],
            "squares": second.sum(0, keepdim=True),
            **({"second_moment": second[self.variances]} if self.variances else {}),
            "expected_entropy": moments.expected_entropy[0],
        }

    def _maps(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Maps `[1, *]` of averaged moments."""
        p = values["probability"]
        variance = (values["squares"] - p.square().sum(0, keepdim=True)).clamp_min_(0) / 2
        maps = voxel_maps(p[None], variance[None], values["expected_entropy"][None])
        found = {name: value[0] for name, value in maps.items()}
        if self.variances:
            own = (values["second_moment"] - p[self.variances].square()).clamp_min_(0)
            found |= {f"variance_{c}": own[i : i + 1] for i, c in enumerate(self.variances)}
        return found


class MomentAverage(Average):
    """Averages the moments of a distribution over logits, and the head's own maps.

    Args:
        network: whatever answers a window.
        classes: as of `Average`.
        variances: as of `Average`.
        features: whether those that enter the head are averaged too; the network is then a `Segmenter`.
    """

    def __init__(
        self, network: Network, classes: int, variances: Sequence[int] = (), *, features: bool = False
    ) -> None:
        super().__init__(classes, variances)
        self.network, self.features = network, features

    def read(self, patch: Tensor) -> Iterator[Contribution]:
        for planes, output, features in answers(self.network, patch, self.classes):
            kept = {"features": features[0]} if self.features and features is not None else {}
            own = {name: value[0] for name, value in output.maps.items()}
            yield Contribution(planes, 1.0, self._moments(output.distribution.moments()) | own | kept)

    def reduced(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        carried = {"probability", "squares", "second_moment", "expected_entropy", "features"}
        own = {name: value for name, value in values.items() if name not in carried}
        return {"structures": values["probability"][1:]} | self._maps(values) | own

    def on_scan(self, values: Mapping[str, Tensor], inside: Tensor | None) -> OnScan:
        if inside is not None:
            values = {name: value.masked_fill(~inside, 0) for name, value in values.items()}
        structures = values["structures"]
        background = (1 - structures.sum(0, keepdim=True)).clamp_min_(0)  # 1 outside the field of view
        maps = {name: value[0] for name, value in values.items() if name != "structures"}
        return OnScan(torch.cat([background, structures]), maps)


class LogitAverage(Average):
    """Averages the logits of members: networks, each on the window as it is and mirrored.

    Args:
        networks: whose heads put all mass on one logit vector, voxel by voxel.
        mirrors: axes of the grid; every combination of them is a member.
        activation: what makes probabilities of averaged logits.
        classes: as of `Average`.
        variances: as of `Average`.
    """

    def __init__(
        self,
        networks: Sequence[Segmenter],
        classes: int,
        variances: Sequence[int] = (),
        *,
        mirrors: Sequence[int] = (),
        activation: Activation = softmax,
    ) -> None:
        super().__init__(classes, variances)
        flips = list(chain.from_iterable(combinations(sorted(mirrors), n) for n in range(len(mirrors) + 1)))
        self.members = [(network, [axis + 2 for axis in axes]) for axes in flips for network in networks]
        self.activation = activation

    @property
    def several(self) -> bool:
        """Whether there is more than one member, so that they can disagree."""
        return len(self.members) > 1

    @property
    def carried(self) -> int:
        return self.classes + (super().carried if self.several else 0)

    def read(self, patch: Tensor) -> Iterator[Contribution]:
        for network, axes in self.members:
            for planes, output, _ in answers(network, patch, self.classes, axes):
                logits = output.distribution.mean
                own = {}
                if self.several:
                    own = self._moments(Moments.of_probability(self.activation(logits[0])[0][None]))
                yield Contribution(planes, 1 / len(self.members), {"logits": logits[0]} | own)

    def reduced(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        spread = {}
        if self.several:
            spread = self._maps(values)
            del spread["predictive_entropy"], spread["margin_risk"]
        return {"logits": values["logits"]} | spread

    def on_scan(self, values: Mapping[str, Tensor], inside: Tensor | None) -> OnScan:
        probability, label = self.activation(values["logits"])
        if inside is not None:
            probability = probability.masked_fill(~inside, 0)
            probability[0].masked_fill_(~inside, 1)
            label = None if label is None else label.masked_fill(~inside, 0)
        entropy = predictive_entropy(probability[None])[0, 0]
        maps = {name: value[0] for name, value in values.items() if name != "logits"}
        if inside is not None:
            maps = {name: value.masked_fill(~inside, 0) for name, value in maps.items()}
        if not self.several:
            nothing = torch.zeros_like(entropy)
            maps = {"variance": nothing, "expected_entropy": entropy, "mutual_information": nothing}
            maps |= {f"variance_{c}": nothing for c in self.variances}
        maps |= {"predictive_entropy": entropy, "margin_risk": margin_risk(probability[None])[0, 0]}
        return OnScan(probability, maps, label)


def answers(
    network: Network, patch: Tensor, classes: int, mirrored: Sequence[int] = ()
) -> Iterator[tuple[slice, HeadOutput, Tensor | None]]:
    """What a network says of the planes of a window, block by block where its head reads each voxel alone.

    Args:
        network: any.
        patch: `[1, channels, *window]`.
        classes: C, which a block's memory is counted with.
        mirrored: tensor axes that the network is to see reversed; the answers are turned back.
    """
    planes = patch.shape[2]
    if not isinstance(network, Segmenter):
        yield slice(0, planes), network(patch), None
        return
    features, taps = network.extract(patch.flip(mirrored) if mirrored else patch)
    if not network.head.voxelwise:
        yield slice(0, planes), network.read(features, taps), features
        return
    if mirrored:
        features = features.flip(mirrored)
    size = max(1, _BLOCK // (classes * patch[0, 0, 0].numel()))
    for start in range(0, planes, size):
        part = slice(start, min(start + size, planes))
        yield part, network.read(features[:, :, part]), features[:, :, part]
