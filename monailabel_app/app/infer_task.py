"""One bundle as a MONAI Label infer task."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monailabel_app.app.scores import Scores
from monailabel_app.errors import NotFoundError
from monailabel_app.jobs import InferJob, JobQueue, Report, ResultStore, ScoreJob, Step, Task
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.predictor import SAMPLES
from uncertaintyseg.inference.result_key import result_key


class InferParams(BaseModel):
    """What a client may choose. Stock clients send fields of their own beside these; they change nothing."""

    model_config = ConfigDict(extra="ignore")

    seed: int = Field(0, ge=0, lt=2**63)
    samples: int = Field(SAMPLES, ge=2, le=4096, description="Coherent samples behind volume intervals.")

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> InferParams:
        """Pick the parameters from a request. Raises `InputError` naming the field that is wrong."""
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            raise InputError(f"params.{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


class BundleInferTask(InferTask):
    """Predicts through the job queue; the server process itself never loads a network.

    Args:
        bundle: The model.
        queue: Where jobs go.
        store: Where results are.
        scores: Every inference is a score as well.
        device: Torch device of the worker.
    """

    def __init__(self, bundle: Bundle, queue: JobQueue, store: ResultStore, scores: Scores, device: str) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={label.name: label.id for label in bundle.labels},
            dimension=3,
            description=bundle.description,
        )
        self.bundle = bundle
        self.checksum = bundle.checksum
        self._queue = queue
        self._store = store
        self._scores = scores
        self._device = device

    def is_valid(self) -> bool:
        """A bundle without weights is not offered."""
        return bool(self.checksum)

    def get_path(self, validate: bool = True) -> str | None:
        """Return the weights file, or None when it is missing and `validate` is set."""
        return str(self.bundle.weights) if self.checksum or not validate else None

    def info(self) -> dict[str, Any]:
        """Return what GET /info/ says of the model."""
        bundle = self.bundle
        return {
            **super().info(),
            "head": bundle.head,
            "bundle": bundle.name,
            "maps": bundle.maps,
            "checksum": self.checksum,
        }

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Submit and wait.

        Args:
            request: `image` (path of the scan), `image_id` (None when it is not in the datastore) and `InferParams`.

        Returns:
            Path of the label, which belongs to the result store, and the JSON of the reply.

        Raises:
            UncertaintySegError: The scan cannot be used, the job was cancelled or the worker died.
        """
        job = self.submit_infer(Path(request["image"]), request.get("image_id"), InferParams.read(request))
        result = job.outcome.result()
        label = self._store.label_path(result["risk"]["result"])
        return str(label), {"model": self.bundle.name, "label_names": result["label_names"], "risk": result["risk"]}

    def submit_infer(self, image: Path, image_id: str | None, params: InferParams) -> InferJob:
        """Queue one inference."""
        job = InferJob(self.bundle.name, self._step(image, image_id, params), self._record)
        self._queue.submit(job)
        return job

    def submit_score(self, images: dict[str, Path], known: dict[str, float], params: InferParams) -> ScoreJob:
        """Queue the scoring of images by id; `known` scores join the result."""
        steps = [self._step(path, image_id, params) for image_id, path in images.items()]
        job = ScoreJob(self.bundle.name, steps, self._record, known)
        self._queue.submit(job)
        return job

    def _step(self, image: Path, image_id: str | None, params: InferParams) -> Step:
        task = Task(
            key=result_key(image, self.bundle, seed=params.seed, samples=params.samples, device=self._device),
            image=str(image),
            bundle=str(self.bundle.folder),
            checksum=self.checksum,
            seed=params.seed,
            samples=params.samples,
            device=self._device,
            results=str(self._store.root),
        )
        return Step(image_id, task)

    def _record(self, step: Step, report: Report) -> None:
        if step.image is not None:
            self._scores.record(step.image, self.bundle.name, self.checksum, report.case_score)


def find_task(tasks: Mapping[str, BundleInferTask], model: Any) -> BundleInferTask:
    """Return a task by name. Raises `NotFoundError` that lists the names there are."""
    task = tasks.get(model) if isinstance(model, str) else None  # stock routes take any JSON for it
    if task is None:
        raise NotFoundError(f"no model {model!r}; this server has {', '.join(sorted(tasks))}")
    return task
