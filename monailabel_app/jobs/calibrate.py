"""Calibrating the weights in use on labelled cases that were kept for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from monailabel_app.jobs.train import LabelledCase, as_case
from monailabel_app.jobs.warm import warm_predictor
from monailabel_app.jobs.work import Report, Work

_DATA = "images of these studies that were reserved for it"


@dataclass(frozen=True)
class Calibrate(Work):
    """Calibrate a bundle; a shipped one is copied into `models` first, where it can be written."""

    key: ClassVar[None] = None

    bundle: str
    checksum: str
    cases: tuple[LabelledCase, ...]
    models: str
    device: str = "cpu"

    def run(self, report: Report) -> dict[str, Any]:
        """Calibrate and write; returns model, checksum and number of cases."""
        from uncertaintyseg.inference.bundle import Bundle  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.inference.calibrating import calibrate, write_calibration  # noqa: PLC0415
        from uncertaintyseg.training.versions import installed  # noqa: PLC0415

        predictor = warm_predictor(self.bundle, self.checksum, self.device)
        found = calibrate(predictor, [as_case(*case) for case in self.cases], report, data=_DATA)
        target = installed(Bundle.load(self.bundle), self.models)
        write_calibration(target, found)
        return {"model": target.name, "checksum": self.checksum, "cases": len(self.cases)}
