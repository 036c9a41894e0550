"""Scores in the image records: how unsure a model is of each image."""

from __future__ import annotations

import time

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.jobs.job import MEASURE

_FIELD = "scores"


class Scores:
    """Mean predictive entropy (nats) by image and model, kept in the datastore's image info.

    A score counts only for the weights that made it.
    """

    def __init__(self, datastore: StudyDatastore) -> None:
        self._datastore = datastore

    def record(self, image: str, model: str, checksum: str, value: float) -> None:
        """Note a score; an image that has left the datastore meanwhile is passed over."""
        with self._datastore.lock:
            if image not in self._datastore.list_images():
                return
            scores = self._datastore.get_image_info(image).get(_FIELD, {})
            old = scores.get(model, {})
            if old.get("checksum") == checksum and old.get(MEASURE) == value:
                return
            entry = {MEASURE: value, "checksum": checksum, "ts": int(time.time())}
            self._datastore.update_image_info(image, {_FIELD: {**scores, model: entry}})

    def of(self, model: str, checksum: str) -> dict[str, float]:
        """Return the scores of all images that these weights have scored."""
        found = {}
        for image in self._datastore.list_images():
            entry = self._datastore.get_image_info(image).get(_FIELD, {}).get(model, {})
            if entry.get("checksum") == checksum:
                found[image] = float(entry[MEASURE])
        return found
