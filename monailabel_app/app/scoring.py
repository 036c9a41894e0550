"""Scoring through the job queue: when a client asks, and by itself of what has changed since."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.infer_task import BundleInferTask
from monailabel_app.app.scores import Scores
from monailabel_app.jobs import ScoreJob
from uncertaintyseg.errors import InputError, UncertaintySegError

logger = logging.getLogger(__name__)


class EntropyScoring(ScoringMethod):
    """Scores unlabelled images with one model, by every measure at once.

    Args:
        submit: Queues a score job for a model.
        models: Names of the models.
    """

    def __init__(self, submit: Callable[[str], ScoreJob], models: list[str]) -> None:
        super().__init__("All measures of doubt about a case; params: model")
        self._submit = submit
        self._models = models

    def __call__(self, request: dict[str, Any], datastore: Datastore) -> dict[str, Any]:  # noqa: ARG002 - the queue has it
        """Queue the job and return its id; it is not waited for."""
        model = request.get("model")
        if model is None:
            if len(self._models) > 1:
                raise InputError(f'name the model to score with: {{"model": NAME}}, one of {", ".join(self._models)}')
            model = self._models[0]
        return {"id": self._submit(model).id}


class ScoreKeeper:
    """Keeps the scores of models whose scores somebody has asked for up to date: new images, and new weights.

    It only queues; a score by the weights in use is never made again.

    Args:
        submit: Queues a score job for the images that a model has not scored.
        scores: Where the scores are.
        tasks: The models by name.
        datastore: Of the images.
    """

    def __init__(
        self,
        submit: Callable[[str], ScoreJob],
        scores: Scores,
        tasks: Mapping[str, BundleInferTask],
        datastore: StudyDatastore,
    ) -> None:
        self._submit, self._scores, self._tasks, self._datastore = submit, scores, tasks, datastore
        self._asked: dict[str, set[tuple[str, str]]] = {}
        self._lock = threading.Lock()
        self._pending = False

    def begin(self, model: str) -> None:
        """Keep the scores of a model from now on, as it was asked to score everything."""
        self._asked[model] = self._missing(model)

    def catch_up(self) -> None:
        """Queue what is missing, in a thread: scans may have to be fetched. Nothing is queued twice by itself."""
        if self._asked and not self._pending:
            self._pending = True
            threading.Thread(target=self._catch_up, daemon=True).start()

    def _catch_up(self) -> None:
        with self._lock:
            self._pending = False  # what changes from here on needs another look
            for model, asked in list(self._asked.items()):
                if model in self._tasks and self._missing(model) - asked:
                    try:
                        self._submit(model)
                    except UncertaintySegError as error:
                        logger.warning("%s does not score what is new: %s", model, error)

    def _missing(self, model: str) -> set[tuple[str, str]]:
        """Unlabelled images without a score, with the weights that lack it."""
        checksum = self._tasks[model].checksum
        missing = set(self._datastore.get_unlabeled_images()) - self._scores.of(model, checksum).keys()
        return {(image, checksum) for image in missing}
