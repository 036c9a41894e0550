"""Which image to label next. Each answer says why; none fails when every image has its label."""

from __future__ import annotations

import random
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from monailabel.interfaces.tasks.strategy import Strategy

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.infer_task import BundleInferTask, find_task
from monailabel_app.app.scores import Scores
from monailabel_app.jobs.job import MEASURE


class Sampling(Strategy):
    """A strategy that answers `{id, strategy, score, reason, remaining}`, without an id when no image is left."""

    name: str

    def __call__(self, request: dict[str, Any], datastore: StudyDatastore) -> dict[str, Any]:
        """Choose one of the images that have no final label."""
        unlabelled = {image: datastore.get_image_info(image) for image in sorted(datastore.get_unlabeled_images())}
        if unlabelled:
            answer = self.choose(unlabelled, request)
        else:
            total = len(datastore.list_images())
            reason = f"all {total} images have a final label" if total else "the studies folder holds no images"
            answer = {"score": None, "reason": reason, "remaining": {"unlabelled": 0, "scored": 0}}
        return {"strategy": self.name, **answer}

    @abstractmethod
    def choose(self, unlabelled: dict[str, dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
        """Return id, score, reason and remaining for one image of `unlabelled` (records by id), which is not empty."""


class RandomSampling(Sampling):
    """Any image, those served long ago or never more likely."""

    name = "random"

    def __init__(self) -> None:
        super().__init__("Random sampling")

    def choose(self, unlabelled: dict[str, dict[str, Any]], _request: dict[str, Any]) -> dict[str, Any]:
        """Draw one image; the weight is the time since it was last served."""
        served = [info.get("strategy", {}).get(self.name, {}).get("ts", 0) for info in unlabelled.values()]
        now = int(time.time())
        image = random.choices(list(unlabelled), weights=[max(now - ts, 0) + 1 for ts in served])[0]
        return {
            "id": image,
            "score": None,
            "reason": f"drawn at random from {len(unlabelled)} images without a label",
            "remaining": {"unlabelled": len(unlabelled), "scored": 0},
        }


class EntropySampling(Sampling):
    """The image of which a model is least sure.

    Args:
        scores: Where the scores are.
        tasks: The models by name.
    """

    name = MEASURE

    def __init__(self, scores: Scores, tasks: Mapping[str, BundleInferTask]) -> None:
        super().__init__("Highest mean predictive entropy around the predicted foreground")
        self._scores = scores
        self._tasks = tasks

    def choose(self, unlabelled: dict[str, dict[str, Any]], request: dict[str, Any]) -> dict[str, Any]:
        """Rank by the scores of the model in the request, else of the one that has scored most of these images."""
        by_model = {
            model: {i: s for i, s in self._scores.of(model, task.checksum).items() if i in unlabelled}
            for model, task in self._wanted(request).items()
        }
        model, scores = max(by_model.items(), key=lambda item: len(item[1]))
        remaining = {"unlabelled": len(unlabelled), "scored": len(scores)}
        if not scores:
            who = model if len(by_model) == 1 else "any model"
            reason = (
                f"no unlabelled image has a score by {who} yet: first of {len(unlabelled)} by name. Run a score job"
            )
            return {"id": next(iter(unlabelled)), "score": None, "reason": reason, "remaining": remaining}
        image = min(scores, key=lambda i: (-scores[i], i))
        reason = (
            f"{model}: mean predictive entropy {scores[image]:.3f} nats within 3 mm of the foreground, "
            f"rank 1 of {len(scores)}"
        )
        if len(scores) < len(unlabelled):
            reason += f"; {len(unlabelled) - len(scores)} more have no score yet"
        return {"id": image, "score": scores[image], "model": model, "reason": reason, "remaining": remaining}

    def _wanted(self, request: dict[str, Any]) -> Mapping[str, BundleInferTask]:
        model = request.get("model")
        return {model: find_task(self._tasks, model)} if model else self._tasks
