"""Why a plan is as it is: each choice in words."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from uncertaintyseg.data.anatomy import LEFT, RIGHT, side
from uncertaintyseg.planning.choices import Choice, duration, gigabytes, listed, sizes
from uncertaintyseg.planning.fingerprint import Fingerprint
from uncertaintyseg.planning.held import held_choice
from uncertaintyseg.planning.intensities import choose_normalization
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.training.patches import on_structures

if TYPE_CHECKING:
    from uncertaintyseg.planning.plan import Plan

_SHOWN = 10
_ASKED = "you asked for it"


def explain(plan: Plan, fingerprint: Fingerprint, given: Overrides) -> list[Choice]:
    """Every choice of a plan, with its reason and the flag that changes it."""

    def choice(name: str, value: str, why: str, flag: str | None, asked: object = None) -> Choice:
        return Choice(name, value, _ASKED if asked is not None else why, flag)

    left_out = []
    if fingerprint.left_out:
        names = listed(list(fingerprint.left_out[:_SHOWN])) + ("" if len(fingerprint.left_out) <= _SHOWN else ", ...")
        left_out.append(
            Choice("cases", f"{len(fingerprint.cases)}, without {len(fingerprint.left_out)}",
                   f"{names} cannot be used; train leaves them out too", "--skip-bad")
        )  # fmt: skip
    device = "processor" if plan.budget.device == "cpu" else "GPU"
    return [
        *left_out,
        *([Choice("dimensions", "2", "images and clips: a network sees each slice alone", None)] if plan.flat else []),
        choice("target spacing", f"{sizes(plan.spacing[: 2 if plan.flat else 3])} {fingerprint.unit}",
               _of_spacing(plan, fingerprint), "--spacing", given.spacing),
        *([Choice("CLAHE", "yes", "you asked for it: local contrast is equalised in each slice", "--clahe")]
          if plan.clahe else []),
        Choice(
            "normalisation", ", ".join(one.scheme for one in plan.normalization),
            choose_normalization(fingerprint, given.normalization)[1], "--normalization",
        ),
        choice("patch and window", f"{sizes(plan.patch)} voxels", _of_patch(plan), "--patch", given.patch),
        Choice("network", f"DynUNet, {plan.topology.stages} levels of {', '.join(map(str, plan.features))} channels",
               "each level halves what is left and doubles the channels; the lowest keeps 4 voxels along an axis",
               "--features"),
        Choice("kernels", "; ".join(sizes(kernel) for kernel in plan.kernels), _of_kernels(plan), None),
        Choice("strides", "; ".join(sizes(stride) for stride in plan.strides),
               "an axis is halved while its voxels are at most twice as long as the shortest", None),
        choice("batch", f"{plan.batch_size} patches", _why_batch(plan), "--batch-size", given.batch_size),
        Choice("memory", _memory(plan), "estimated from the shapes" + (
            ", then measured with a real step" if plan.trial else f"; there is no such {device} here to measure it"
        ), "--budget"),
        held_choice(plan, fingerprint),
        choice("overlap of windows", f"{plan.overlap:g}", "half a window: its middle is better than its border"
               if plan.overlap >= 0.5 else "a quarter: a scan has many windows, and a processor is slow", "--overlap",
               given.overlap),
        choice("mirroring", "left-right" if plan.symmetries == [0] else listed([str(a) for a in plan.symmetries]) or
               "none", _of_symmetries(fingerprint), "--symmetries", given.symmetries),
        choice("foreground", _foreground(plan), "at least a third lies on a structure, else small ones would hardly be "
               "seen", "--foreground", given.foreground),
        choice("deep supervision", "yes" if plan.deep_supervision else "no", "the inner levels learn from the label "
               "too; worth it from 3 levels on", "--no-deep-supervision", given.deep_supervision),
        choice("learning rate", f"{plan.learning_rate:g}", "AdamW, falling to 0 as (1 - done)^0.9", "--learning-rate",
               given.learning_rate),
        choice("steps", f"{plan.steps}", f"what {plan.hours:g} h hold at {duration(plan.pace)} a step"
               + ("" if plan.trial else " (guessed)"), "--hours", given.steps),
        choice("epochs", f"{plan.epochs} of {plan.steps_per_epoch} steps", "each ends with a validation of "
               f"{plan.validation_cases} cases ({duration(plan.validation_seconds)}); all together take at most 15 % "
               "of the time", "--epochs", given.epochs),
        Choice("seed", f"{plan.seed}", "the same seed gives the same weights on the same machine", "--seed"),
    ]  # fmt: skip


def _foreground(plan: Plan) -> str:
    count = on_structures(plan.foreground, plan.batch_size)
    return f"{count} of {plan.batch_size} patches in each batch" if count else f"{plan.foreground:.2g} of the patches"


def _of_spacing(plan: Plan, fingerprint: Fingerprint) -> str:
    median = fingerprint.spacing
    if fingerprint.unit == "px":
        return "pictures say nothing of mm: a pixel is a pixel, and sizes stay pixels"
    if all(abs(mine - theirs) <= 1e-3 * theirs for mine, theirs in zip(plan.spacing, median, strict=True)):
        return "median of the scans"
    return f"median of the scans ({sizes(median)} mm), and the 10th percentile along the thick slices"


def _of_patch(plan: Plan) -> str:
    whole = plan.topology.padded(plan.shape)
    if plan.patch == whole:
        return f"a whole scan of the median size ({sizes(plan.shape)}), padded to what the network halves"
    share = 100 * math.prod(plan.patch) / math.prod(whole)
    small = math.prod(plan.patch) < 0.7 * plan.budget.voxels
    why = "the memory" if small and not plan.flat else "memory and time"
    return (
        f"{share:.2g} % of a median scan ({sizes(plan.shape)}), what {why} of --budget {plan.budget.name} hold; "
        "windows of inference have the same size, else volumes come out biased"
    )


def _of_kernels(plan: Plan) -> str:
    if plan.flat:
        return "1 from image to image, which are seen alone"
    if all(size == 3 for kernel in plan.kernels for size in kernel):
        return "voxels are about as long as wide"
    return "1 along thick slices, until the other axes have become as coarse: a neighbour 10 mm away says little"


def _of_symmetries(fingerprint: Fingerprint) -> str:
    sided = [label.name for label in fingerprint.dataset.labels if side(label) in (LEFT, RIGHT)]
    if sided:
        return f"left and right are structures of their own ({listed(sided[:2])})"
    return "no structure is a left or a right one"


def _memory(plan: Plan) -> str:
    measured = f", measured {gigabytes(plan.trial.peak)}" if plan.trial else ""
    return f"{gigabytes(plan.memory.total)}{measured} of {gigabytes(plan.budget.bytes)}"


def _why_batch(plan: Plan) -> str:
    if plan.flat:
        return "as many images as have the pixels of two large patches, and no more than 5 % of all"
    if plan.budget.device == "cpu":
        return "two on a processor, where larger steps would be fewer steps"
    return "as many as the memory holds, from 2 to 8, and no more than 5 % of all voxels"
