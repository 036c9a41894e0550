"""What is known of a model's error probability from labelled cases that nothing was chosen on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.review.recalibration import Recalibration, fit_recalibration
from uncertaintyseg.review.tally import GRID, Tally, fine_edges, pooled, telling_edges
from uncertaintyseg.wire import MEASURE

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

    One map drives: voxels are ranked by it, and what it says becomes the error probability. Any promise
    (`review.promise`) and the risk-coverage curve (`review.coverage`) follow from the curves.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights_checksum: str = Field(description="SHA-256 of the weights file.")
    window: tuple[int, ...]
    overlap: float
    measure: str = Field(MEASURE, description="Name of the map that drives.")
    data: str = Field(description="Name of the calibration cases, for people.")
    created: str = Field(description="ISO date and time, UTC.")
    code_version: str
    recalibration: Recalibration | None = Field(
        description="Of the map that drives; null where that made the model's own no better on held-out cases."
    )
    thresholds: list[float] = Field(description="Of the error probability that it gives, rising from 0 to 1.")
    cases: list[CaseCurve]

    @model_validator(mode="after")
    def _curves_fit(self) -> Calibration:
        size = len(self.thresholds)
        if any(len(case.loss) != size or len(case.reviewed) != size for case in self.cases) or not self.cases:
            raise ValueError(f"every case needs a loss and a share at each of the {size} thresholds")
        if (np.diff(self.losses, axis=1) < 0).any() or (np.diff(self.thresholds) <= 0).any():
            raise ValueError("losses may not fall and thresholds must rise")
        if self.recalibration is None and self.measure != MEASURE:
            raise ValueError(f"'{self.measure}' is no error probability without a recalibration")
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

    def recalibrated(self, risk: np.ndarray) -> np.ndarray:
        """The error probability as it came true on the calibration cases, from the map that drives, `[*S]`."""
        return self.recalibration(risk) if self.recalibration else risk


class TalliedCase(NamedTuple):
    """What a calibration needs to know of one case."""

    id: str
    tally: Tally
    """Of the map that drives: of the model's own error probability in the bins of `GRID`, else in `fine_edges`."""
    reference_voxels: int
    """Of all structures."""
    reference_ml: float
    own: Tally | None = None
    """Of the model's own error probability, where another map drives."""


def make_calibration(
    cases: Sequence[TalliedCase],
    *,
    measure: str = MEASURE,
    limits: tuple[float, float] = (0.0, 1.0),
    **about: Any,
) -> Calibration:
    """The calibration that follows from tallied cases.

    Args:
        cases: as many as `FEWEST` or more.
        measure: the map that drives.
        limits: its smallest and largest value.
        about: weights_checksum, window, overlap, data, created and code_version of the calibration.

    Raises:
        InputError: for fewer cases, or a map that ranks nothing in them.
    """
    check_enough(len(cases))
    tallies, grid = [case.tally for case in cases], GRID
    if measure != MEASURE:
        together = pooled(tallies)
        if np.count_nonzero(together.count) < 2:
            raise InputError(f"'{measure}' is the same everywhere in these cases: it ranks nothing, and cannot drive.")
        kept = telling_edges(together)
        tallies, grid = [found.merged(kept) for found in tallies], fine_edges(limits)[kept]
    recalibration = fit_recalibration(tallies, limits, None if measure == MEASURE else [case.own for case in cases])
    every = _EVERY if measure == MEASURE else 1
    thresholds, places = _thresholds(recalibration(grid) if recalibration else grid, every)
    curves = [
        CaseCurve(
            id=case.id,
            reference_ml=round(case.reference_ml, 4),
            loss=_rounded_up(found.loss(case.reference_voxels)[places]),
            reviewed=np.round(found.reviewed()[places], _DIGITS).tolist(),
        )
        for case, found in zip(cases, tallies, strict=True)
    ]
    return Calibration(
        measure=measure, recalibration=recalibration, thresholds=thresholds.tolist(), cases=curves, **about
    )


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


def _thresholds(edges: np.ndarray, every: int) -> tuple[np.ndarray, np.ndarray]:
    """Every so many of the edges as thresholds, and where they are.

    They are rounded down to float32, the kind of the maps: NumPy compares the two in it, and none above may be lost.
    """
    places = np.arange(0, len(edges), every)
    rounded = edges[places].astype(np.float32)
    rounded = np.where(rounded > edges[places], np.nextafter(rounded, np.float32(0)), rounded)
    thresholds, first = np.unique(rounded, return_index=True)
    return thresholds.astype(np.float64), places[first]


def _rounded_up(loss: np.ndarray) -> list[float]:
    scale = 10**_DIGITS
    return np.minimum(np.ceil(loss * scale - 1e-9) / scale, 1.0).tolist()
