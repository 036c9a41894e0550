"""A model's network over one scan: windows, finished planes, and those planes on the scan's grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from monai.data import MetaTensor

from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF, drawn_together
from uncertaintyseg.inference.spread import ShapeKeeper
from uncertaintyseg.inference.stream import (
    Average,
    Chunk,
    GridMap,
    LogitAverage,
    MomentAverage,
    Scratch,
    WindowLayout,
    WindowPlan,
    onto_grid,
    run_windows,
)
from uncertaintyseg.inference.timing import Progress, each_timed, timed, window_progress
from uncertaintyseg.segmenter import Network, Segmenter

_AVERAGES = ("moments", "logits")


@dataclass(frozen=True)
class Engine:
    """What it takes to run a model over scans, without what is made of the answers.

    Attributes:
        bundle: the model.
        network: its network.
        runner: what windows are given to: the network, or passes around it.
        layout: its windows.
        device: torch device.
        method: name of the passes.
        crf: draws labels of neighbours together, on the model's grid.
    """

    bundle: Bundle
    network: Segmenter
    runner: Network
    layout: WindowLayout
    device: str
    method: str | None = None
    crf: CRF | None = None

    def average(self, variances: Sequence[int]) -> Average:
        """What windows average, with the variances of some class ids.

        Raises:
            BundleError: where the model names an average that does not exist.
        """
        classes, kind = len(self.bundle.labels) + 1, self.bundle.config.get("average") or "moments"
        if kind not in _AVERAGES:
            raise BundleError(f"{self.bundle.name}: 'average' is '{kind}'; it must be {' or '.join(_AVERAGES)}.")
        if self.method or self.crf or kind == "moments":
            return MomentAverage(self.runner, classes, variances)
        activation = self.network.head.activation
        mirrors = self.bundle.config.get("mirrors") or ()
        return LogitAverage(self.network.networks, classes, variances, mirrors=mirrors, activation=activation)

    def over(
        self, scan: MetaTensor, volume: MetaTensor, box: Sequence[slice] | None = None
    ) -> tuple[GridMap, WindowPlan]:
        """How a scan falls on its preprocessed volume, and the windows that see it, or a box of it."""
        shape, nearest = volume.shape[1:], volume.meta.get("nearest_axes") or ()
        grid = GridMap(volume.affine, shape, scan.affine, scan.shape[1:], nearest=nearest, region=box)
        return grid, self.layout.over(shape, self.network.divisor, None if box is None else grid.box_on_model())

    def keeper(self, grid: GridMap, scratch: Scratch) -> ShapeKeeper | str:
        """What keeps the features that whole shapes are drawn from, or why there will be none."""
        head, features, shape = self.network.head, self.network.features, grid.model_shape
        if self.crf:
            return "none: a CRF leaves one answer"
        if self.method:
            return f"none: {self.method} keeps the moments of its passes, not their shapes"
        if not head.coherent:
            return f"none: the {self.bundle.head} head draws no whole shapes (its voxels share no noise)"
        if not ShapeKeeper.fits(features, shape):
            return "none: the volume is too large to keep its features"
        return ShapeKeeper(features, shape, scratch, grid.box_on_model())

    def chunks(
        self,
        volume: MetaTensor,
        grid: GridMap,
        plan: WindowPlan,
        average: Average,
        keeper: ShapeKeeper | None = None,
        *,
        part: tuple[int, int] = (0, 1),
        progress: Progress = lambda stage, fraction: None,
        seconds: dict[str, float],
    ) -> Iterator[Chunk]:
        """Run the network, and bring what it says to the scan's grid as it goes.

        Args:
            volume: preprocessed.
            grid: as of `over`.
            plan: as of `over`.
            average: as of `average`.
            keeper: is shown the finished planes and their features.
            part: how many networks are done already of how many, for the progress.
            progress: called with how many windows are done, and the fraction of the whole prediction.
            seconds: gets the wall time of "network", and of "crf".
        """
        image = volume.as_tensor()
        slabs = run_windows(image, plan, average, self.device, progress=window_progress(progress, *part))
        slabs = each_timed(seconds, "network", slabs)
        if keeper is not None:
            slabs = keeper.watching(slabs)
        if self.crf:
            with timed(seconds, "crf"):
                flat = self.bundle.flat or self.bundle.prompted
                part, spacing = image[(slice(1 if self.bundle.prompted else None), *plan.covered)], self.bundle.reach
                slabs = iter([drawn_together(slabs, self.crf, part, spacing, average.variances, flat=flat)])
            seconds["crf"] -= seconds["network"]
        yield from onto_grid(slabs, grid, average)
