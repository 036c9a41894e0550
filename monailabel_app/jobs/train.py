"""One training, in a process of its own beside the one that answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from monailabel_app.jobs.work import Report, Work
from uncertaintyseg.data.layouts import Case

LabelledCase = tuple[str, str, str]
"""Id, path of the scan and path of the label."""


@dataclass(frozen=True)
class Train(Work):
    """Train a bundle on labelled cases and publish it in `models`; the fields are those of `training.retrain`."""

    key: ClassVar[None] = None

    bundle: str
    training: tuple[LabelledCase, ...]
    validation: tuple[LabelledCase, ...]
    models: str
    scope: str = "whole"
    warm_start: bool = True
    device: str = "cpu"
    changes: dict[str, Any] = field(default_factory=dict)

    def run(self, report: Report) -> dict[str, Any]:
        """Train; returns a `wire.TrainResult` as plain JSON."""
        from uncertaintyseg.inference.bundle import Bundle  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.training.retrain import retrain  # noqa: PLC0415

        result = retrain(
            Bundle.load(self.bundle),
            [as_case(*case) for case in self.training],
            [as_case(*case) for case in self.validation],
            self.models,
            scope=self.scope,
            warm_start=self.warm_start,
            device=self.device,
            progress=report,
            **self.changes,
        )
        return result.model_dump(mode="json")


def as_case(case_id: str, image: str, label: str) -> Case:
    """The case that the library knows."""
    return Case(case_id, Path(image), Path(label))
