"""Scores of a network during a fit, on the path that inference takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from ignite.engine import Events
from monai.data import CacheDataset, DataLoader
from monai.engines import SupervisedEvaluator
from monai.inferers import Inferer
from monai.metrics import DiceMetric
from torch import Tensor

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.device import checked_device
from uncertaintyseg.inference.stream import MomentAverage, WindowLayout, run_windows
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.held_cases import unwrapped
from uncertaintyseg.training.loading import as_tensors, read_labelled


class ProbabilityInferer(Inferer):
    """E[p] over the windows of a model, `[B, C, *spatial]`."""

    def __init__(self, layout: WindowLayout) -> None:
        super().__init__()
        self.layout = layout

    def __call__(self, inputs: Tensor, network: Segmenter) -> Tensor:  # type: ignore[override]
        average = MomentAverage(network, network.head.classes)
        return torch.stack([averaged(volume, network, average, self.layout)["probability"] for volume in inputs])


def averaged(volume: Tensor, network: Segmenter, average: MomentAverage, layout: WindowLayout) -> dict[str, Tensor]:
    """What windows average over a volume `[channels, *spatial]`, whole: `[k, *spatial]` by name."""
    plan, found = layout.over(volume.shape[1:], network.divisor), {}
    for slab in run_windows(volume, plan, average, volume.device):
        for name, value in slab.values.items():
            if name not in found:
                found[name] = value.new_empty((len(value), *plan.shape))
            found[name].movedim(slab.axis + 1, 1)[:, slab.planes.start : slab.planes.stop] = value
    return found


class Scores:
    """Mean Dice of the structures and mean NLL of the voxels, over cases.

    Attributes:
        beside: further scores by name, computed with these.
        by_structure: after `compute`, the mean Dice of each structure over the cases that hold it; NaN where none does.
    """

    def __init__(self, classes: int) -> None:
        self._dice = DiceMetric(include_background=False, num_classes=classes)
        self._nll: list[Tensor] = []
        self.by_structure: list[float] = []
        self.beside: dict[str, Callable[[], float]] = {}

    def update(self, probability: Tensor, target: Tensor) -> None:
        """Add cases: E[p] `[B, C, *spatial]`, class indices or `IGNORED` `[B, 1, *spatial]`."""
        known = target != IGNORED
        judged = known.flatten(1).any(1)
        if not judged.all():  # of a case without a labelled voxel there is no mean
            probability, target, known = probability[judged], target[judged], known[judged]
        if not len(target):
            return
        target = target.where(known, 0)
        self._dice(probability.argmax(1, keepdim=True).where(known, 0), target)
        own = probability.gather(1, target).clamp_min(1e-12)
        self._nll.append(-(own.log() * known).flatten(1).sum(1) / known.flatten(1).sum(1))

    def compute(self) -> dict[str, float]:
        """The scores so far; resets."""
        self.by_structure = self._dice.get_buffer().nanmean(0).tolist()
        scores = {"dice": float(self._dice.aggregate()), "nll": float(torch.cat(self._nll).mean())}
        self._dice.reset()
        self._nll = []
        return scores | {name: score() for name, score in self.beside.items()}


def make_evaluator(bundle: Bundle, network: Segmenter, device: str, cases: CacheDataset) -> SupervisedEvaluator:
    """An engine that scores a network on labelled cases; after each run `scores` has what to compute."""
    evaluator = SupervisedEvaluator(
        device=torch.device(device),
        val_data_loader=DataLoader(cases, num_workers=0),
        network=network,
        inferer=ProbabilityInferer(WindowLayout.of(bundle, network.divisor)),
        prepare_batch=as_tensors,
        decollate=False,
    )
    if not any((case["label"] != IGNORED).any() for case in cases):
        raise InputError("no voxel of the validation cases is labelled: choose others, or label a region of one.")
    evaluator.scores = Scores(len(bundle.labels) + 1)

    @evaluator.on(Events.ITERATION_COMPLETED)
    def update() -> None:
        evaluator.scores.update(evaluator.state.output["pred"], evaluator.state.output["label"])

    return evaluator


def validate(
    bundle: Bundle,
    cases: Sequence[Case],
    device: str = "cpu",
    progress: Callable[[str, float], None] = lambda stage, fraction: None,
) -> dict[str, float]:
    """Scores of a trained bundle on labelled cases: "dice" (mean over structures) and "nll" (nats, mean over voxels).

    One case is in memory at a time.

    Raises:
        InputError: without a labelled case, for one that cannot be used, or a device that is absent.
        BundleError: for weights that are missing or do not fit.
    """
    held_out = read_labelled(bundle, cases, "validation", progress, kept=False)
    device = checked_device(device)
    with unwrapped():
        evaluator = make_evaluator(bundle, bundle.network().to(device), device, held_out)

        @evaluator.on(Events.ITERATION_COMPLETED)
        def tell() -> None:
            done, total = evaluator.state.iteration, len(held_out)
            progress(f"validated {done} of {total} cases", done / total)

        evaluator.run()
    return evaluator.scores.compute()
