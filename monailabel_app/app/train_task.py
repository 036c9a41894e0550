"""One bundle as a MONAI Label train task."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from monailabel.interfaces.tasks.train import TrainTask
from pydantic import AliasChoices, Field

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.infer_task import Params
from monailabel_app.app.labelled import check_trainable, labelled_cases
from monailabel_app.app.models import Models
from monailabel_app.jobs import JobQueue, TrainJob
from monailabel_app.jobs.train import Train
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.versions import list_versions


class TrainParams(Params):
    """How to train. `max_epochs` and `pretrained` are MONAI Label's names for two of them."""

    scope: Literal["whole", "head"] | None = Field(
        None, description="'head' leaves the backbone as it is: minutes. By default the most that the model has."
    )
    warm_start: bool = Field(
        True, validation_alias=AliasChoices("warm_start", "pretrained"), description="Begin with the weights in use."
    )
    epochs: int | None = Field(
        None, ge=0, le=10_000, validation_alias=AliasChoices("epochs", "max_epochs"), description="0: by recipe."
    )
    learning_rate: float | None = Field(None, gt=0, le=1)
    seed: int | None = Field(None, ge=0, lt=2**31)


class BundleTrainTask(TrainTask):
    """Trains through the job queue, in a process beside the one that answers.

    Args:
        bundle: The model.
        models: All of them; new weights are published in its home.
        queue: Where jobs go.
        device: Torch device.
        on_answer: Called with the bundle's name and the `wire.TrainResult` of a training.
    """

    def __init__(
        self,
        bundle: Bundle,
        models: Models,
        queue: JobQueue,
        device: str,
        on_answer: Callable[[str, dict[str, Any]], None],
    ) -> None:
        super().__init__(f"Train {bundle.name} on the final labels of these studies")
        self.bundle = bundle
        self._models, self._queue, self._device, self._on_answer = models, queue, device, on_answer

    def config(self) -> dict[str, Any]:
        """Return what a client may choose; a list holds the choices, as MONAI Label's clients read it."""
        return {"scope": self._scopes, "max_epochs": 0, "pretrained": True}

    @property
    def _scopes(self) -> list[str]:
        """What can be trained, the most first: of a head on another model's network only the head."""
        return ["head"] if self.bundle.uncertainty.base else ["whole", "head"]

    def stats(self) -> dict[str, Any]:
        """Return the training state: versions, oldest first, and which is in use."""
        versions = list_versions(self.bundle)
        in_use = next((v.number for v in versions if v.checksum == self.bundle.checksum), None)
        return {"version": in_use, "versions": [version.model_dump(mode="json") for version in versions]}

    def __call__(self, request: dict[str, Any], datastore: StudyDatastore) -> dict[str, Any]:
        """Submit and wait; see `submit`."""
        return self.submit(datastore, TrainParams.read(request)).outcome.result()

    def submit(self, datastore: StudyDatastore, params: TrainParams) -> TrainJob:
        """Queue a training on the datastore's final labels.

        Raises:
            InputError: There are too few.
        """
        cases = labelled_cases(datastore, self.bundle, self._models)
        check_trainable(cases, self.bundle)
        changes = {"epochs": params.epochs or None, "learning_rate": params.learning_rate, "seed": params.seed}
        work = Train(
            bundle=str(self.bundle.folder),
            training=cases.training,
            validation=cases.validation,
            models=str(self._models.home),
            scope=params.scope or self._scopes[0],
            warm_start=params.warm_start,
            device=self._device,
            changes={name: value for name, value in changes.items() if value is not None},
        )
        name = self.bundle.name
        return self._queue.submit(TrainJob(name, work, lambda answer: self._on_answer(name, answer)))
