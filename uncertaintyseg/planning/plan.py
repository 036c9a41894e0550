"""What a data set is to be trained with: every setting, from its fingerprint and what may be spent."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from uncertaintyseg.data.anatomy import LEFT, RIGHT, side
from uncertaintyseg.data.splitting import planned_split
from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.budgets import Budget, find_budget
from uncertaintyseg.planning.choices import Choice
from uncertaintyseg.planning.explained import explain
from uncertaintyseg.planning.fingerprint import Fingerprint
from uncertaintyseg.planning.grid import median_shape, target_spacing
from uncertaintyseg.planning.intensities import Normalization, choose_normalization
from uncertaintyseg.planning.memory import Memory, multiply_adds, step_memory
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.steps import FEWEST_STEPS, Steps, fit_into, guessed_seconds
from uncertaintyseg.planning.topology import ALONE, Sizes, Topology, choose_patch, make_topology

FOREGROUND = 1 / 3
"""Share of the patches that lie on a structure (nnU-Net)."""
OVERLAP, LITTLE_OVERLAP = 0.5, 0.25
_MANY_WINDOWS = 30
"""Windows of a scan beyond which a processor takes `LITTLE_OVERLAP`."""
_LEAST_VOXELS = 32**3
_SHARE_OF_DATA = 0.05
"""Of all voxels, at most in a batch (nnU-Net)."""
_LARGEST_BATCH = {"cpu": 2, "cuda": 8}
_LARGEST_BATCH_OF_IMAGES = {"cpu": 8, "cuda": 32}
LEARNING_RATE = 1e-3
_TRIALS = 4


@dataclass(frozen=True)
class Trial:
    """What a real step took; None where it could not be made here."""

    step_seconds: float
    window_seconds: float
    peak: int


@dataclass(frozen=True)
class Plan:
    """Settings of a model that can be trained. Axes run right, forward and up (RAS+); lengths are in mm."""

    task: str
    budget: Budget
    spacing: tuple[float, float, float]
    shape: Sizes
    """Median of the scans, cropped to what is not 0, on the grid of `spacing`."""
    normalization: list[Normalization]
    patch: Sizes
    """Training patch and window of inference: where they differ, instance normalisation biases volumes."""
    topology: Topology
    features: list[int]
    batch_size: int
    overlap: float
    symmetries: list[int]
    deep_supervision: bool
    foreground: float
    length: Steps
    learning_rate: float
    seed: int
    clahe: bool
    """Contrast is equalised locally, slice by slice, before the intensities are scaled."""
    flat: bool
    """Images and clips: the network sees each slice alone."""
    memory: Memory
    trial: Trial | None
    pace: float
    """Seconds of a step, measured, or guessed where none was made."""
    validation_seconds: float
    """Of each validation, on all of `validation_cases`."""
    validation_cases: int
    hours: float
    choices: list[Choice] = field(default_factory=list)
    tried: bool = True
    """A real step was to be made; without a `trial` it could not be, for want of such a GPU."""
    too_slow: Plan | None = None
    """The last one of larger patches or batches, of whose steps `hours` hold fewer than `FEWEST_STEPS`."""

    @property
    def kernels(self) -> list[Sizes]:
        """Of each level."""
        return list(self.topology.kernels)

    @property
    def strides(self) -> list[Sizes]:
        """Of each level."""
        return list(self.topology.strides)

    @property
    def steps(self) -> int:
        """Of the whole fit."""
        return self.length.whole

    @property
    def steps_per_epoch(self) -> int:
        """Of an epoch, which ends with a validation."""
        return self.length.per_epoch

    @property
    def epochs(self) -> int:
        """And validations."""
        return self.length.epochs

    @property
    def memory_bytes(self) -> int:
        """Of a step, estimated."""
        return self.memory.total

    @property
    def measured_bytes(self) -> int | None:
        """Of a step, measured."""
        return self.trial.peak if self.trial else None

    @property
    def step_seconds(self) -> float:
        """Of a step, measured where `trial` says so, else guessed."""
        return self.pace

    @property
    def seconds(self) -> float:
        """Of the whole fit, with its validations."""
        return self.steps * self.pace + self.epochs * self.validation_seconds

    @property
    def validation_share(self) -> float:
        """Of that time."""
        return self.epochs * self.validation_seconds / self.seconds


TryStep = Callable[[Plan], Trial | None]
"""Makes real steps of a plan; raises `TooLargeError` where there is no memory for them."""


class TooLargeError(Exception):
    """A real step ran out of memory."""


def make_plan(
    fingerprint: Fingerprint,
    task: str,
    *,
    budget: str = "cpu",
    hours: float = 1.0,
    overrides: Overrides | None = None,
    try_step: TryStep | None = None,
    progress: Callable[[str, float], None] = lambda text, fraction: None,
) -> Plan:
    """Choose all that a training needs.

    Args:
        fingerprint: of the data.
        task: name of what is segmented.
        budget: "cpu", "8GB", "24GB" or "80GB".
        hours: that the training may take.
        overrides: what the user has chosen.
        try_step: makes real steps, which checks the estimate and gives the time; None: no step is to be made.
        progress: called with a line of text and the fraction done.

    Raises:
        InputError: for a choice that cannot be, scans too small for a network, or a budget that no patch fits.
    """
    given, spent = overrides or Overrides(), find_budget(budget)
    if not hours > 0:
        raise InputError(f"--hours {hours:g}: a training needs some time, such as --hours 0.5.")
    given.check()
    limit, voxels, too_slow = spent.bytes, spent.voxels, None
    for attempt in range(1, _TRIALS + 1):
        plan = _draft(fingerprint, task, spent, limit, voxels, hours, given)
        progress(f"a real step of {' x '.join(map(str, plan.patch))} voxels", 0.0)
        try:
            trial = try_step(plan) if try_step else None
        except TooLargeError:
            limit = round(min(limit, plan.memory.total) * 0.7)
            continue
        if trial is None:
            break
        plan = replace(plan, trial=trial)
        if trial.peak > spent.bytes:
            if given.patch and given.batch_size:
                break  # as asked; told among the choices
            limit = round(min(limit, plan.memory.total) * 0.9 * spent.bytes / trial.peak)
            continue
        few = hours * 3600 / trial.step_seconds / FEWEST_STEPS
        whole = math.prod(plan.patch) * (plan.batch_size / 2 if plan.flat else 1)  # fewer images before smaller ones
        smaller = max(round(whole * few), _LEAST_VOXELS)
        if few < 0.8 and smaller < 0.8 * whole and not given.patch and attempt < _TRIALS:
            voxels, too_slow = smaller, plan
            continue
        break
    else:
        raise InputError(
            f"a real step needs more memory than --budget {budget} has ({spent.bytes / 1e9:.1f} GB), also with smaller "
            "patches: give a smaller --patch or --features, or a larger --budget."
        )
    plan = replace(_timed(plan, fingerprint, given), tried=try_step is not None, too_slow=too_slow)
    return replace(plan, choices=explain(plan, fingerprint, given))


def _draft(
    fingerprint: Fingerprint, task: str, budget: Budget, limit: int, voxels: int, hours: float, given: Overrides
) -> Plan:
    """All but the time."""
    flat = fingerprint.flat
    if flat:
        given.check_flat()
    spacing = given.spacing or target_spacing(fingerprint.spacings, fingerprint.shapes, flat=flat)
    shape, lengths = median_shape(fingerprint, spacing), (*spacing[:2], ALONE) if flat else spacing
    given.check_patch(lengths, shape, budget, unit=fingerprint.unit)
    widths = budget.widths(given.features)
    channels, classes = len(fingerprint.channels), len(fingerprint.dataset.labels) + 1
    half = budget.device == "cuda"

    def memory(patch: Sizes, topology: Topology, batch: int) -> Memory:
        return step_memory(
            topology, widths, patch, batch, channels=channels, classes=classes, half=half,
            deep=given.deep_supervision is not False and topology.stages >= 3,
        )  # fmt: skip

    batch = given.batch_size or 2
    if given.patch:
        topology = make_topology(lengths, given.patch, budget.levels)
        patch = given.patch
    else:
        start = _start(shape, spacing, voxels)
        found = choose_patch(
            start, lengths, budget.levels,
            lambda patch, topology: math.prod(patch) <= voxels and memory(patch, topology, batch).total <= limit,
        )  # fmt: skip
        if found is None:
            raise InputError(_fits_nothing(budget, classes, memory, start, lengths, batch))
        patch, topology = found
    if not given.batch_size:
        share = _SHARE_OF_DATA * float(np.prod(fingerprint.shapes, axis=1, dtype=np.float64).sum()) / math.prod(patch)
        most = _LARGEST_BATCH[budget.device]
        if flat:  # as many pixels as the voxels of two patches, which images are far smaller than
            most = min(_LARGEST_BATCH_OF_IMAGES[budget.device], max(2 * voxels // math.prod(patch), most))
        largest = min(most, max(round(share), 2))
        while batch < largest and memory(patch, topology, batch + 1).total <= limit:
            batch += 1
    found_memory = memory(patch, topology, batch)
    if found_memory.total > budget.bytes:
        raise InputError(
            f"patches of {' x '.join(map(str, patch))} voxels, {batch} a step, take {found_memory.total / 1e9:.1f} GB; "
            f"--budget {budget.name} has {budget.bytes / 1e9:.1f} GB: give a smaller --patch, --batch-size or "
            "--features, or a larger --budget."
        )
    normalization, _why = choose_normalization(fingerprint, given.normalization)
    stages = topology.stages
    windows = _windows(shape, patch, OVERLAP)
    overlap = LITTLE_OVERLAP if budget.device == "cpu" and windows > _MANY_WINDOWS else OVERLAP
    work = multiply_adds(topology, widths, patch, batch, channels)
    return Plan(
        task=task, budget=budget, spacing=spacing, shape=shape, normalization=normalization, patch=patch,
        topology=topology, features=list(widths[:stages]), batch_size=batch,
        overlap=overlap if given.overlap is None else given.overlap,
        symmetries=_symmetries(fingerprint) if given.symmetries is None else list(given.symmetries),
        deep_supervision=stages >= 3 if given.deep_supervision is None else given.deep_supervision,
        foreground=FOREGROUND if given.foreground is None else given.foreground,
        length=Steps(1, 1, 1), learning_rate=given.learning_rate or LEARNING_RATE, seed=given.seed,
        clahe=given.clahe, flat=flat,
        memory=found_memory, trial=None, pace=guessed_seconds(work, budget.device), validation_seconds=0.0,
        validation_cases=0, hours=hours,
    )  # fmt: skip


def _timed(plan: Plan, fingerprint: Fingerprint, given: Overrides) -> Plan:
    """With as many steps as there is time for."""
    step = plan.trial.step_seconds if plan.trial else plan.pace
    window = plan.trial.window_seconds if plan.trial else step / plan.batch_size / 3
    held_out = _validation_shapes(fingerprint, plan.spacing)
    validation = max(sum(_windows(shape, plan.patch, plan.overlap) for shape in held_out), 1) * window
    length = fit_into(3600 * plan.hours, step, validation, steps=given.steps)
    if given.epochs:
        length = Steps(length.whole, max(round(length.whole / given.epochs), 1), given.epochs)
    return replace(plan, length=length, pace=step, validation_seconds=validation, validation_cases=len(held_out))


def _validation_shapes(fingerprint: Fingerprint, spacing: Sequence[float]) -> list[Sizes]:
    """Sizes on the model's grid of the cases that `train` will validate on."""
    held_out = set(planned_split(fingerprint.dataset.folder, [case.id for case in fingerprint.cases])["validation"])
    return [
        tuple(max(round(n * mm / own), 1) for n, mm, own in zip(case.shape, case.spacing, spacing, strict=True))
        for case in fingerprint.cases
        if case.id in held_out
    ]


def _symmetries(fingerprint: Fingerprint) -> list[int]:
    """Mirroring left and right is no symmetry where a structure is a left or a right one."""
    return [] if any(side(label) in (LEFT, RIGHT) for label in fingerprint.dataset.labels) else [0]


def _start(shape: Sizes, spacing: Sequence[float], voxels: int) -> Sizes:
    """The median scan, cut to a cube or a square of so many voxels and more: no search begins at 512 x 512 x 900."""
    axes = sum(size > 1 for size in shape)
    side_mm = (2**axes * voxels * math.prod(spacing)) ** (1 / max(axes, 1))
    return tuple(min(size, max(round(side_mm / mm), 8)) for size, mm in zip(shape, spacing, strict=True))


def _windows(shape: Sizes, patch: Sizes, overlap: float) -> int:
    """Of a scan."""
    return math.prod(
        math.ceil(max(size - side, 0) / max(side * (1 - overlap), 1)) + 1
        for size, side in zip(shape, patch, strict=True)
    )


def _fits_nothing(
    budget: Budget, classes: int, memory: Callable[..., Memory], shape: Sizes, spacing: Sequence[float], batch: int
) -> str:
    smallest = tuple(min(size, 8) for size in shape)
    topology = make_topology(spacing, smallest, budget.levels)
    need = memory(topology.padded(smallest), topology, batch).total
    many = "choose some with --structures, or " if classes > 20 else ""
    return (
        f"--budget {budget.name} ({budget.bytes / 1e9:.1f} GB) fits no patch: {classes - 1} structures take "
        f"{need / 1e9:.1f} GB with {batch} of the smallest: {many}give a larger --budget, or fewer --features or a "
        "smaller --batch-size."
    )
