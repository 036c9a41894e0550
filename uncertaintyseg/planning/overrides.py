"""What a user has chosen instead of the plan, checked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from uncertaintyseg.errors import InputError
from uncertaintyseg.planning.budgets import Budget
from uncertaintyseg.planning.choices import sizes
from uncertaintyseg.planning.topology import make_topology, nearest_patch

_WIDEST = 100_000
"""Features beyond which nobody has ever gone, and sizes of weights overflow."""
_LARGEST_SEED = 2**32 - 1
"""That numpy takes."""


@dataclass(frozen=True)
class Overrides:
    """Flags of the command; None leaves a choice to the plan."""

    spacing: tuple[float, float, float] | None = None
    patch: tuple[int, int, int] | None = None
    batch_size: int | None = None
    features: int | None = None
    normalization: str | None = None
    overlap: float | None = None
    symmetries: Sequence[int] | None = None
    deep_supervision: bool | None = None
    foreground: float | None = None
    steps: int | None = None
    epochs: int | None = None
    learning_rate: float | None = None
    seed: int = 0
    clahe: bool = False

    def check(self) -> None:
        """Refuse what can never be, whatever the data set is.

        Raises:
            InputError: with an example of what can.
        """
        if self.spacing and not all(0 < mm < 1000 for mm in self.spacing):
            raise InputError(f"--spacing {_text(self.spacing)}: three lengths in mm, such as 1,1,3.")
        if self.overlap is not None and not 0 <= self.overlap <= 0.9:
            raise InputError(f"--overlap {self.overlap:g}: a share from 0 to 0.9, such as 0.5.")
        if self.foreground is not None and not 0 <= self.foreground <= 1:
            raise InputError(f"--foreground {self.foreground:g}: a share from 0 to 1, such as 0.33.")
        if self.symmetries is not None and not set(self.symmetries) <= {0, 1, 2}:
            raise InputError(f"--symmetries {_text(self.symmetries)}: axes 0 (left-right), 1 and 2, or none.")
        if self.patch and min(self.patch) < 1:
            raise InputError(f"--patch {_text(self.patch)}: three numbers of voxels, such as 64,64,32.")
        if self.learning_rate is not None and not 0 < self.learning_rate <= 1:
            raise InputError(f"--learning-rate {self.learning_rate:g}: above 0 and at most 1, such as 0.001.")
        if self.features is not None and self.features > _WIDEST:
            raise InputError(f"--features {self.features}: channels of the first level, at most {_WIDEST}; such as 32.")
        if not 0 <= self.seed <= _LARGEST_SEED:
            raise InputError(f"--seed {self.seed}: a whole number from 0 to {_LARGEST_SEED}.")

    def check_flat(self) -> None:
        """Refuse what is of a third axis, which images and the frames of a clip do not have.

        Raises:
            InputError: with what may be.
        """
        if self.spacing and self.spacing[2] != 1:
            raise InputError(f"--spacing {_text(self.spacing)}: of images the third is 1, such as 0.2,0.2,1.")
        if self.patch and self.patch[2] != 1:
            raise InputError(f"--patch {_text(self.patch)}: of images the third is 1, such as 256,256,1.")
        if self.symmetries and 2 in self.symmetries:
            raise InputError(f"--symmetries {_text(self.symmetries)}: images have axes 0 (columns) and 1 (rows).")

    def check_patch(self, spacing: Sequence[float], shape: Sequence[int], budget: Budget, *, unit: str = "mm") -> None:
        """Refuse a patch that no network takes.

        Args:
            spacing: of the grid, `topology.ALONE` from image to image.
            shape: of the usual scan.
            budget: of the network.
            unit: of the spacing.

        Raises:
            InputError: with the nearest one that can be.
        """
        if self.patch is None:
            return
        nearest = nearest_patch(self.patch, spacing, budget.levels)
        if nearest != self.patch:
            divisor = make_topology(spacing, self.patch, budget.levels).divisor
            voxel = sizes([side for side in spacing if math.isfinite(side)])
            raise InputError(
                f"--patch {_text(self.patch)}: with voxels of {voxel} {unit} the network halves it to a "
                f"{sizes(divisor)}th, so its sides must be multiples of that; the nearest is --patch {_text(nearest)}."
            )
        limit = make_topology(spacing, shape, budget.levels).padded(shape)
        if any(side > most for side, most in zip(self.patch, limit, strict=True)):
            voxel = sizes([side for side in spacing if math.isfinite(side)])
            raise InputError(
                f"--patch {_text(self.patch)}: larger than the median scan, {sizes(shape)} voxels at {voxel} "
                f"{unit}; take at most --patch {_text(limit)}."
            )


def _text(values: Sequence[float]) -> str:
    return ",".join(f"{value:g}" for value in values) or "none"


def read_three(text: str | None, flag: str, kind: type = int) -> tuple | None:
    """Three numbers with commas between.

    Raises:
        InputError: for anything else.
    """
    if text is None:
        return None
    try:
        a, b, c = (kind(part) for part in text.split(","))
    except ValueError:
        example = "64,64,32" if kind is int else "1,1,3"
        raise InputError(f"{flag} {text}: three numbers with commas between, such as {example}.") from None
    return a, b, c


def read_axes(text: str | None) -> list[int] | None:
    """Axes with commas between, or "none".

    Raises:
        InputError: for anything else.
    """
    if text is None:
        return None
    parts = [] if text.strip() in ("none", "") else text.split(",")
    try:
        return sorted({int(part) for part in parts})
    except ValueError:
        raise InputError(f"--symmetries {text}: axes 0, 1, 2 with commas between, or none.") from None
