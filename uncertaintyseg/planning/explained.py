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
from uncertaintyseg.planning.steps import FEWEST_STEPS, FOR_VALIDATION, MOST_STEPS
from uncertaintyseg.training.patches import on_structures

if TYPE_CHECKING:
    from uncertaintyseg.planning.plan import Plan

_SHOWN = 10
_LONGER = 1.05
"""Times --hours that a plan may take for rounding."""
_NEARLY = 0.01
"""Of rounding, in the share of the validations."""
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
        Choice("memory", _memory(plan), f"estimated from the shapes{_measured(plan)}", "--budget"),
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
        choice("steps", f"{plan.steps}", _of_steps(plan), "--hours", given.steps),
        choice("epochs", f"{plan.epochs} of {plan.steps_per_epoch} steps", _of_epochs(plan), "--epochs", given.epochs),
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
    if plan.too_slow and math.prod(plan.patch) < math.prod(plan.too_slow.patch):
        why = _of_time(plan, plan.too_slow)
    elif small and not plan.flat:
        why = f"what the memory of --budget {plan.budget.name} holds"
    else:
        edge = round(plan.budget.voxels ** (1 / 3))
        most = f"{plan.budget.voxels} pixels" if plan.flat else f"{edge}^3 voxels"
        why = f"at most {most} with --budget {plan.budget.name}, so that a step takes seconds"
    return (
        f"{share:.2g} % of a median scan ({sizes(plan.shape)}), {why}; windows of inference have the same size, else "
        "volumes come out biased"
    )


def _of_time(plan: Plan, slow: Plan) -> str:
    """Why it is smaller than one that was tried."""
    seconds = slow.trial.step_seconds
    return (
        f"what the time allows: a step with {slow.batch_size} of {sizes(slow.patch)} voxels took {duration(seconds)}, "
        f"of which --hours {plan.hours:g} holds {3600 * plan.hours / seconds:.0f}, "
        f"where a training needs {FEWEST_STEPS}; a machine that is busy makes it smaller"
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


def _measured(plan: Plan) -> str:
    if plan.trial:
        return ", then measured with a real step"
    return "; there is no such GPU here to measure it" if plan.tried else "; not measured, for --no-trial"


def _of_steps(plan: Plan) -> str:
    pace = f"{duration(plan.pace)} a step" + ("" if plan.trial else " (guessed)")
    if plan.seconds > _LONGER * 3600 * plan.hours:
        return f"the fewest there may be: at {pace} they take longer than --hours {plan.hours:g}"
    if plan.steps >= 0.99 * MOST_STEPS:
        return f"more than {MOST_STEPS} have not been seen to help, though --hours {plan.hours:g} has time for more"
    return f"as many as fit into {plan.hours:g} h at {pace}"


def _of_epochs(plan: Plan) -> str:
    together = "it takes" if plan.epochs == 1 else "all together take"
    return (
        f"each ends with a validation of {plan.validation_cases} case{'' if plan.validation_cases == 1 else 's'} "
        f"({duration(plan.validation_seconds)}); {together} {100 * plan.validation_share:.2g} % of the time"
    )


def validation_doubt(plan: Plan) -> str | None:
    """That validation takes more than its share, with the way out; None where it does not."""
    if plan.validation_share <= FOR_VALIDATION + _NEARLY:
        return None
    fewer = "fewer --epochs, or " if plan.epochs > 1 else ""
    return (
        f"Validation takes {100 * plan.validation_share:.2g} % of the time, more than {100 * FOR_VALIDATION:.0f} %: "
        f"{fewer}a longer training (--hours, --steps) leaves more of it to learn in."
    )


def _why_batch(plan: Plan) -> str:
    if plan.flat:
        if plan.too_slow and plan.batch_size < plan.too_slow.batch_size:
            return _of_time(plan, plan.too_slow)
        return "as many images as have the pixels of two large patches, and no more than 5 % of all"
    if plan.budget.device == "cpu":
        return "two on a processor, where larger steps would be fewer steps"
    return "as many as the memory holds, from 2 to 8, and no more than 5 % of all voxels"
