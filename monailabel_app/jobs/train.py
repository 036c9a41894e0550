"""One training, in a process of its own beside the one that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from monailabel_app.jobs.work import Report, Work
from monailabel_app.verified import Boxes, verified_mask
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.writing import write_volume

LabelledCase = tuple[str, str, str, Boxes, bool]
"""Id, path of the scan, path of the label, the boxes of it that a person has seen, none where that is all of it, and
whether it was sent, so that its numbers are class ids."""


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

    @property
    def files(self) -> tuple[str, ...]:
        """Scans of all cases, epoch by epoch."""
        return tuple(case[1] for case in (*self.training, *self.validation))

    def run(self, report: Report) -> dict[str, Any]:
        """Train; returns a `wire.TrainResult` as plain JSON."""
        from uncertaintyseg.inference.bundle import Bundle  # noqa: PLC0415 - torch belongs to the worker
        from uncertaintyseg.training.retrain import retrain  # noqa: PLC0415

        with TemporaryDirectory(prefix="uncertaintyseg-") as folder:
            result = retrain(
                Bundle.load(self.bundle),
                as_cases(self.training, Path(folder)),
                as_cases(self.validation, Path(folder)),
                self.models,
                scope=self.scope,
                warm_start=self.warm_start,
                device=self.device,
                progress=report,
                **self.changes,
            )
        return result.model_dump(mode="json")


def as_cases(cases: Sequence[LabelledCase], folder: Path) -> list[Case]:
    """The cases that the library knows; where people have looked is written to a folder, `<id>.nii.gz`."""
    found = []
    for case_id, image, label, boxes, own_ids in cases:
        mask = folder / f"{case_id}.nii.gz" if boxes else None
        if mask is not None:
            write_volume(mask, *verified_mask(Path(label), boxes))
        found.append(Case(case_id, Path(image), Path(label), verified=mask, own_ids=own_ids))
    return found
