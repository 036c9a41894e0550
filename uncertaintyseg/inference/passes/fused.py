"""Several training-free methods as one, the surer ones counting more (METHODS 5.1, 5.3)."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal

from torch import Tensor

from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput, Later
from uncertaintyseg.inference.fusion import WeightingName
from uncertaintyseg.inference.fusion import weighting as weighting_by_name
from uncertaintyseg.inference.passes.base import Passes
from uncertaintyseg.inference.passes.checkpoints import Checkpoints
from uncertaintyseg.inference.passes.dropout import DropoutInjection, MCDropout
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.inference.passes.ranges import SEED, Range, check_ranges
from uncertaintyseg.inference.passes.symmetry import SymmetryName
from uncertaintyseg.inference.passes.tta import Augmented
from uncertaintyseg.logits import LogitDistribution, LogitEnsemble, Moments
from uncertaintyseg.measures import FUSED, map_info, predictive_entropy
from uncertaintyseg.segmenter import Network
from uncertaintyseg.wire import MapInfo

Component = Literal["mc_dropout", "dropout_injection", "tta", "noise"]
COMPONENTS: dict[str, type[Passes]] = {kind.name: kind for kind in (MCDropout, DropoutInjection, Augmented, Noise)}
"""What can be fused: methods that make their passes of one network."""


class Fused(Passes):
    """Methods averaged by how sure each is at a voxel: their passes first among themselves, then one with the other.

    The map `fused_uncertainty` is the sum of w_i u_i over the methods, u_i the entropy of a method's mean probability
    in nats and w_i its weight, of which those of a voxel sum to 1 (METHODS 5.1, 5.2). Entropy being concave, it is
    never above `predictive_entropy`, the entropy of the fused probability, which also counts what methods disagree on.

    Args:
        network: as the components need it.
        components: names of at least two different methods.
        weighting: "mean", "inverse", "exponential" or "power" (`inference.fusion`).
        sharpness: of the last two.
        faithful: weights as of the paper's code; the components have such a switch of their own.
        options: of the components, by their names.
        spacing: voxel size of each axis, mm, for components that mind it.
        symmetries: for components that turn the image; None for their default.
        seed: of the random components.

    Raises:
        InputError: for components or a weighting that do not exist, or options that a component cannot take.
    """

    name = "fused"
    paper = "González Salas, Foundation models adapted without retraining"
    summary = "dropout injection, test-time augmentation and noise, the surer ones counting more"
    source = "total"

    def __init__(
        self,
        network: Network,
        *,
        components: Sequence[Component] = ("dropout_injection", "tta", "noise"),
        weighting: WeightingName = "inverse",
        sharpness: Annotated[float, Range(0, 100)] = 1.0,
        faithful: bool = False,
        options: Mapping[str, Mapping[str, Any]] | None = None,
        spacing: Sequence[float] | None = None,
        symmetries: SymmetryName | Sequence[int] | None = None,
        seed: Annotated[int, Range(0, SEED)] = 0,
    ) -> None:
        check_ranges(Fused, locals())
        chosen = _options(components, options or {}, spacing=spacing, symmetries=symmetries, seed=seed)
        self.methods = {name: COMPONENTS[name](network, **own) for name, own in chosen.items()}
        self._ensemble = Checkpoints(tuple(self.methods.values()))
        # Without weights the answer still has samples.
        weigh = weighting_by_name(weighting, sharpness, faithful=faithful)
        self._weigh = None if weighting == "mean" else weigh
        super().__init__(network, passes=sum(method.passes for method in self.methods.values()))

    @classmethod
    def count(cls, **options: Any) -> int:
        """The passes of all components."""
        shared = {name: options.get(name) for name in ("spacing", "symmetries")}
        chosen = _options(options["components"], options.get("options") or {}, **shared)
        return sum(COMPONENTS[name].count(**own) for name, own in chosen.items())

    @classmethod
    def extra_maps(cls, classes: int) -> dict[str, MapInfo]:
        """`fused_uncertainty`."""
        return {FUSED: map_info(FUSED, classes, cls.source)}

    @property
    def divisor(self) -> int | Sequence[int]:
        """Window sizes must be multiples of this: of what every component needs."""
        return self._ensemble.divisor

    @property
    def looks(self) -> int:
        return sum(method.looks for method in self.methods.values())

    def run(self, image: Tensor) -> Iterator[LogitDistribution]:
        """One distribution a method: the mixture of its passes."""
        return self._ensemble.run(image)

    def __call__(self, image: Tensor) -> HeadOutput:
        fused = LogitEnsemble(lambda: self.run(image), len(self.methods), self._weigh, also=_entropy)
        return HeadOutput(fused, maps=Later((FUSED,), lambda: {FUSED: fused.beside}))


def _entropy(moments: Moments) -> Tensor:
    return predictive_entropy(moments.probability)


def _options(
    components: Sequence[str], options: Mapping[str, Mapping[str, Any]], **shared: Any
) -> dict[str, dict[str, Any]]:
    """All options of each component: its own, those that all share where it takes them, and its defaults."""
    unknown = [name for name in (*components, *options) if name not in COMPONENTS]
    if unknown:
        raise InputError(f"'{unknown[0]}' cannot be fused; choose from {', '.join(COMPONENTS)}.")
    if len(components) < 2 or len(set(components)) < len(components):
        raise InputError(f"'components' is {list(components)}: name at least two different methods.")
    idle = [name for name in options if name not in components]
    if idle:
        raise InputError(f"there are options for '{idle[0]}', which is not among the components {list(components)}.")
    found = {}
    for name in components:
        parameters = inspect.signature(COMPONENTS[name]).parameters
        defaults = {key: p.default for key, p in parameters.items() if p.kind is p.KEYWORD_ONLY}
        own = options.get(name, {})
        wrong = [key for key in own if key not in defaults]
        if wrong:
            raise InputError(f"the component '{name}' has no option '{wrong[0]}'; it has {', '.join(defaults)}.")
        check_ranges(COMPONENTS[name], own)
        given = {key: value for key, value in shared.items() if key in defaults and value is not None}
        found[name] = defaults | given | dict(own)
    return found
