"""One prediction into the result store; out of memory, it goes on with smaller windows, then on the CPU."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Hashable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from monailabel_app.jobs.prompts import AskedFor
from monailabel_app.jobs.results import ResultStore
from monailabel_app.jobs.shown import Shown, say_same_patient
from monailabel_app.jobs.warm import release, warm_predictor
from monailabel_app.jobs.work import Report, Work
from uncertaintyseg.inference.out_of_memory import attempts, may_fit_otherwise
from uncertaintyseg.training.versions import bundle_with

if TYPE_CHECKING:
    from uncertaintyseg.inference.crf import CRF

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Predict(Work):
    """One image, segmented by one model; the fields from `method` to `threshold` are those of `warm_predictor`."""

    key: str
    image: str
    bundle: str
    checksum: str
    seed: int
    samples: int
    device: str
    results: str
    method: str | None = None
    options: str = "{}"
    others: tuple[str, ...] = ()
    crf: CRF | None = None
    threshold: str | None = None
    structures: tuple[str, ...] | None = None
    roi: tuple[tuple[int, int], ...] | None = None
    force: bool = False
    anomaly: str | None = None
    prompts: AskedFor | None = None
    case: str | None = None
    """Of the studies, whose scan it is."""
    shown: Shown | None = None
    """What a model of UniverSeg is shown in place of its own examples."""
    key_device: str = ""
    """The device that the key is of, where the work is done on another one of its kind."""

    @property
    def loads(self) -> tuple[Hashable, ...]:
        """Its model."""
        return ((self.bundle, self.checksum),)

    def on(self, device: str) -> Predict:
        """The same work on a device; keys stay as they are."""
        return replace(super().on(device), key_device=self.key_device or self.device)

    @property
    def files(self) -> tuple[str, ...]:
        """Its scan, and those of its examples."""
        return (self.image, *(case[1] for case in (self.shown.cases if self.shown else ())))

    def run(self, report: Report) -> str:
        """Predict and store; returns the key, which is another one where windows or device had to be others."""
        failed = ""
        for device, halvings in attempts(self.device):
            try:
                return self._predict(report, device, halvings, failed)
            except Exception as error:
                if not may_fit_otherwise(error, device):
                    raise
                failed = failed or f"out of memory on {device} with the model's own windows"
                logger.warning("%s: out of memory on %s, windows halved %d times", self.image, device, halvings)
            release()
        raise MemoryError(failed)

    def stand_in_key(self, device: str, window: str) -> str:
        """Key of a result that other windows or another device had to make; equal devices make the same."""
        place = (self.key_device if device == self.device else "") or device
        return hashlib.sha256(f"{self.key} {place} {window}".encode()).hexdigest()

    def _predict(self, report: Report, device: str, halvings: int, failed: str) -> str:
        model = self.bundle, self.checksum
        if self.shown:
            shown = self.shown.model(bundle_with(Path(self.bundle), self.checksum))
            model = str(shown.folder), shown.checksum
        predictor = warm_predictor(
            *model,
            device,
            method=self.method,
            options=self.options,
            others=self.others,
            crf=self.crf,
            threshold=self.threshold,
            halvings=halvings,
        )
        predictor.force = self.force
        if self.prompts is not None:
            predictor.asking = self.prompts.asking(predictor.bundle, device)
        try:
            prediction = predictor.predict(
                Path(self.image),
                seed=self.seed,
                samples=self.samples,
                structures=self.structures,
                region=self.roi,
                anomaly=self.anomaly,
                progress=report,
            )
        finally:
            if self.prompts is not None:
                del predictor.asking  # a warm predictor serves others, and would hold the network that prompted it
        if predictor.bundle.examples:
            prediction = say_same_patient(prediction, predictor.bundle, self.image, self.case)
        key = self.key
        if failed:
            window = " x ".join(map(str, prediction.provenance.window))
            note = {"fallback": f"{failed}: done on {device} with windows of {window}"}
            prediction = replace(prediction, provenance=prediction.provenance.model_copy(update=note))
            key = self.stand_in_key(device, window)
        ResultStore(Path(self.results)).put(key, prediction, predictor.bundle.labels)
        return key
