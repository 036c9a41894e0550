"""Scoring through the job queue, in the form in which stock clients ask for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.scoring import ScoringMethod

from monailabel_app.jobs import ScoreJob
from uncertaintyseg.errors import InputError


class EntropyScoring(ScoringMethod):
    """Scores unlabelled images with one model.

    Args:
        submit: Queues a score job for a model.
        models: Names of the models.
    """

    def __init__(self, submit: Callable[[str], ScoreJob], models: list[str]) -> None:
        super().__init__("Mean predictive entropy around the predicted foreground; params: model")
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
