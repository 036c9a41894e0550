"""Calibrating the weights in use on labelled cases that were kept for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from monailabel_app.jobs.train import LabelledCase, as_cases
from monailabel_app.jobs.warm import warm_predictor
from monailabel_app.jobs.work import Report, Work
from uncertaintyseg.wire import MEASURE

_DATA = "images of these studies that were reserved for it"


@dataclass(frozen=True)
class Calibrate(Work):
    """Calibrate a bundle; a shipped one is copied into `models` first, where it can be written.

    Attributes:
        by: the map that drives; "auto": the one that ranks errors best on `validation`.
    """

    key: ClassVar[None] = None

    bundle: str
    checksum: str
    cases: tuple[LabelledCase, ...]
    models: str
    device: str = "cpu"
    by: str = MEASURE
    validation: tuple[LabelledCase, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """Scans of all cases."""
        return tuple(case[1] for case in (*self.cases, *self.validation))

    def run(self, report: Report) -> dict[str, Any]:
        """Calibrate and write; returns model, checksum, number of cases and the map that drives."""
        from uncertaintyseg.inference.bundle import Bundle  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.inference.calibrating import calibrate, write_calibration  # noqa: PLC0415
        from uncertaintyseg.inference.choosing import AUTO, best_driver, ranking_figures  # noqa: PLC0415
        from uncertaintyseg.training.versions import installed  # noqa: PLC0415

        predictor = warm_predictor(self.bundle, self.checksum, self.device)
        by = self.by
        with TemporaryDirectory(prefix="uncertaintyseg-") as folder:
            if by == AUTO:
                validation = as_cases(self.validation, Path(folder))
                by = best_driver(ranking_figures(predictor, validation, report))
            found = calibrate(predictor, as_cases(self.cases, Path(folder)), report, data=_DATA, by=by)
        target = installed(Bundle.load(self.bundle), self.models)
        write_calibration(target, found)
        return {"model": target.name, "checksum": self.checksum, "cases": len(self.cases), "driven_by": by}
