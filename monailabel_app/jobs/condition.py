"""A result and a person's clicks, made into a new result; the job that waits for it."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monailabel_app.jobs.job import InferJob
from monailabel_app.jobs.results import ResultStore
from monailabel_app.jobs.warm import warm_predictor
from monailabel_app.jobs.work import Report, Work
from uncertaintyseg import NUMBERS, wire
from uncertaintyseg.inference.out_of_memory import is_out_of_memory

if TYPE_CHECKING:
    from uncertaintyseg.inference.conditioned import ConditionedCase

Voxel = tuple[int, int, int]
Corner = tuple[float, float, float]
_CASES = 2
_OFFER = (
    "this model shares no noise between voxels, so a click moves its own voxel only: submit the label, then train the "
    'head on it: POST /uncertainty/v1/jobs {"kind": "train", "model": "%s", "params": {"scope": "head"}}'
)
_HEADLESS = (
    "this model has no doubt that voxels share, so a click only paints its own voxel: a Laplace head, fitted in one "
    "reading of labelled cases, lets clicks move whole structures: uncertaintyseg train %s DATA --head laplace"
)


@dataclass(frozen=True)
class Condition(Work):
    """All corrections of one result.

    Attributes:
        base: key of the result that was clicked on.
        clicks: i, j, k, class id and whether it is part of a scribble, of each.
        lassos: class id and corners of each, in order.
        boxes: class id, first and last voxel of each.
    """

    key: str
    base: str
    clicks: tuple[tuple[int, int, int, int, bool], ...]
    bundle: str
    checksum: str
    device: str
    results: str
    reach_mm: float | None = None
    lassos: tuple[tuple[int, tuple[Corner, ...]], ...] = ()
    boxes: tuple[tuple[int, Voxel, Voxel], ...] = ()

    @property
    def loads(self) -> tuple[Hashable, ...]:
        """The result that is clicked on, and its model."""
        return (self.base, (self.bundle, self.checksum))

    def run(self, report: Report) -> str:
        """Condition and store; returns the key."""
        from uncertaintyseg.inference.conditioned import Click  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.review.enclosing import Box, Lasso  # noqa: PLC0415

        report("moving the segmentation", 0.1)
        try:
            made = ResultStore(Path(self.results)).made(self.base)
            case = _warm_case(self.results, self.base, made, self.bundle, self.checksum, self.device)
            clicks = [Click((i, j, k), label, stroke) for i, j, k, label, stroke in self.clicks]
            known = {} if self.reach_mm is None else {"reach_mm": self.reach_mm}
            lassos, boxes = [Lasso(*lasso) for lasso in self.lassos], [Box(*box) for box in self.boxes]
            prediction = case.given(clicks, lassos, boxes, **known).prediction()
        except Exception as error:
            _warm_case.cache_clear()
            if is_out_of_memory(error):
                raise MemoryError(str(error)) from error
            raise
        params = prediction.provenance.params | {"base": self.base} | known
        prediction = replace(prediction, provenance=prediction.provenance.model_copy(update={"params": params}))
        ResultStore(Path(self.results)).put(self.key, prediction, case.labels)
        return self.key


def condition_key(work: Condition) -> str:
    """Key of a corrected result, whatever the order of clicks: a hash of what it depends on (hex SHA-256)."""
    said = {"clicks": sorted(work.clicks), "lassos": work.lassos, "boxes": sorted(work.boxes)}
    parts = {"base": work.base, **said, "reach_mm": work.reach_mm, "numbers": NUMBERS}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=_CASES)
def _warm_case(results: str, base: str, made: int, bundle: str, checksum: str, device: str) -> ConditionedCase:  # noqa: ARG001 - `made` tells it from one of old
    """A stored result, ready for clicks. Runs in the worker."""
    from uncertaintyseg.inference.conditioned import ConditionedCase  # noqa: PLC0415

    prediction, labels = ResultStore(Path(results)).prediction(base)
    predictor = warm_predictor(bundle, checksum, device)
    calibration, _ = predictor.calibration
    return ConditionedCase(predictor.network.head, prediction, labels, calibration)


class ConditionJob(InferJob):
    """Clicks, somebody waiting. Ends with a `wire.ConditionResult`."""

    kind = "condition"

    def result(self) -> dict[str, Any]:
        """Return a `wire.ConditionResult` as plain JSON."""
        result = super().result()
        made_by = self.report.risk.provenance
        params, offer = made_by.params, _HEADLESS if made_by.head == "deterministic" else _OFFER
        moved = params.get("moved", "none")
        offer = offer % self.model if moved == "voxel" else None
        found = wire.ConditionResult(**result, moved=moved, alone=params.get("alone", 0), offer=offer)
        return found.model_dump(mode="json")
