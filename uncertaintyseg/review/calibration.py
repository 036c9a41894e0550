"""What is known of a model's error probability from labelled cases that nothing was chosen on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.review.recalibration import Recalibration, fit_recalibration
from uncertaintyseg.review.tally import GRID, Tally

MEASURE = "error_probability"
FEWEST = 10
"""Cases that a calibration needs: with fewer nothing below 9 % could be promised."""
_EVERY = 4
_DIGITS = 5


class CaseCurve(BaseModel):
    """One case at each threshold of its `Calibration`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    reference_ml: float = Field(description="Volume of all structures in the reference.")
    loss: list[float] = Field(description="Wrong voxels left / reference voxels, at most 1; rounded up.")
    reviewed: list[float] = Field(description="Share of the scan above the threshold.")


class Calibration(BaseModel):
    """Curves of the calibration cases; holds for the weights and windows that they were made with.

    Any promise (`review.promise`) and the risk-coverage curve (`review.coverage`) follow from the curves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights_checksum: str = Field(description="SHA-256 of the weights file.")
    window: tuple[int, ...]
    overlap: float
    measure: Literal["error_probability"] = MEASURE
    data: str = Field(description="Name of the calibration cases, for people.")
    created: str = Field(description="ISO date and time, UTC.")
    code_version: str
    recalibration: Recalibration | None = Field(description="Null where it made held-out cases no better.")
    thresholds: list[float] = Field(description="Of the recalibrated error probability, rising from 0 to 1.")
    cases: list[CaseCurve]

    @model_validator(mode="after")
    def _curves_fit(self) -> Calibration:
        size = len(self.thresholds)
        if any(len(case.loss) != size or len(case.reviewed) != size for case in self.cases) or not self.cases:
            raise ValueError(f"every case needs a loss and a share at each of the {size} thresholds")
        if (np.diff(self.losses, axis=1) < 0).any() or (np.diff(self.thresholds) <= 0).any():
            raise ValueError("losses may not fall and thresholds must rise")
        return self

    @property
    def n(self) -> int:
        """Number of cases."""
        return len(self.cases)

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of its content."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @cached_property
    def losses(self) -> np.ndarray:
        """Loss of each case at each threshold `[n, T]`."""
        return np.array([case.loss for case in self.cases])

    @cached_property
    def mean_reviewed(self) -> np.ndarray:
        """Share of a scan above each threshold, mean over the cases `[T]`."""
        return np.mean([case.reviewed for case in self.cases], axis=0)

    @cached_property
    def band(self) -> np.ndarray:
        """Mean loss at each threshold, and its 95 % percentile bootstrap interval over cases `[3, T]`."""
        draws = np.random.default_rng(0).multinomial(self.n, np.full(self.n, 1 / self.n), size=9999)
        mean = self.losses.mean(0)
        low, high = np.percentile(draws @ self.losses / self.n, [2.5, 97.5], axis=0)
        return np.stack([mean, np.minimum(low, mean), np.maximum(high, mean)])

    def recalibrated(self, error_probability: np.ndarray) -> np.ndarray:
        """The model's error probability `[*S]` as it came true on the calibration cases."""
        return self.recalibration(error_probability) if self.recalibration else error_probability


class TalliedCase(NamedTuple):
    """What a calibration needs to know of one case."""

    id: str
    tally: Tally
    """Of the model's own error probability."""
    reference_voxels: int
    """Of all structures."""
    reference_ml: float


def make_calibration(cases: Sequence[TalliedCase], **about: Any) -> Calibration:
    """The calibration that follows from tallied cases.

    Args:
        cases: as many as `FEWEST` or more.
        about: weights_checksum, window, overlap, data, created and code_version of the calibration.

    Raises:
        InputError: for fewer cases.
    """
    check_enough(len(cases))
    recalibration = fit_recalibration([case.tally for case in cases])
    grid = GRID[::_EVERY]
    thresholds = recalibration(grid) if recalibration else grid
    curves = [
        CaseCurve(
            id=case.id,
            reference_ml=round(case.reference_ml, 4),
            loss=_rounded_up(case.tally.loss(case.reference_voxels)[::_EVERY]),
            reviewed=np.round(case.tally.reviewed()[::_EVERY], _DIGITS).tolist(),
        )
        for case in cases
    ]
    return Calibration(recalibration=recalibration, thresholds=thresholds.tolist(), cases=curves, **about)


def check_enough(count: int) -> None:
    """Raise `InputError` for fewer cases than `FEWEST`."""
    if count < FEWEST:
        raise InputError(
            f"a calibration needs {FEWEST} labelled cases at least, not {count}: take more, that neither trained the "
            "model nor helped to choose it."
        )


def read_calibration(path: Path) -> Calibration | None:
    """The calibration in a file; None where there is none. Read again only when it has changed.

    Raises:
        BundleError: when the file is damaged.
    """
    try:
        stat = path.stat()
        return _read(path, stat.st_mtime_ns, stat.st_ino, stat.st_size)
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error.strerror
        raise BundleError(f"{path} cannot be used ({reason}): calibrate again, or remove the file.") from error


@lru_cache(maxsize=128)
def _read(path: Path, *_stamp: int) -> Calibration:
    return Calibration.model_validate_json(path.read_bytes())


def _rounded_up(loss: np.ndarray) -> list[float]:
    scale = 10**_DIGITS
    return np.minimum(np.ceil(loss * scale - 1e-9) / scale, 1.0).tolist()
