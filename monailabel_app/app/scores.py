"""Scores in the image records: how unsure a model is of each image, and what the image looks like to it."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.jobs.job import MEASURE
from uncertaintyseg import NUMBERS

_FIELD = "scores"
_NO_MEASURE = ("checksum", "numbers", "ts", "features")


@dataclass(frozen=True)
class Scored:
    """What a model said of an image.

    Attributes:
        scores: by measure, see `uncertaintyseg.active.acquisition`.
        features: `[F]`; None where there are none.
        ts: when, in seconds since 1970.
    """

    scores: dict[str, float]
    features: np.ndarray | None
    ts: int


class Scores:
    """Scores by image and model, kept in the datastore's image info.

    They count only for the weights and the code (`NUMBERS`) that made them; for others the image has no score.
    """

    def __init__(self, datastore: StudyDatastore) -> None:
        self._datastore = datastore

    def record(
        self, image: str, model: str, checksum: str, scores: Mapping[str, float], features: Sequence[float] = ()
    ) -> None:
        """Note the scores of an image; one that has left the datastore meanwhile is passed over."""
        with self._datastore.lock:
            if image not in self._datastore.list_images():
                return
            kept = self._datastore.get_image_info(image).get(_FIELD)
            kept = kept if isinstance(kept, dict) else {}
            entry = {**scores, "checksum": checksum, "numbers": NUMBERS, "features": _packed(features)}
            old = kept.get(model)
            if isinstance(old, dict) and {**old, "ts": None} == {**entry, "ts": None}:
                return
            entry["ts"] = int(time.time())
            self._datastore.update_image_info(image, {_FIELD: {**kept, model: entry}})

    def all_of(self, model: str, checksum: str) -> dict[str, Scored]:
        """Return what these weights said, of all images that they have seen."""
        with self._datastore.lock:
            found = {i: _read(info, model, checksum) for i, info in self._datastore.records().items()}
        return {image: scored for image, scored in found.items() if scored is not None}

    def of(self, model: str, checksum: str) -> dict[str, float]:
        """Return the predictive entropy (nats) near the foreground of all images that these weights have scored."""
        return {image: scored.scores[MEASURE] for image, scored in self.all_of(model, checksum).items()}


def _read(info: dict[str, Any], model: str, checksum: str) -> Scored | None:
    """The entry of a record; clients may write records, so one that makes no sense counts as none."""
    try:
        entry = info[_FIELD][model]
        if (entry["checksum"], entry["numbers"]) != (checksum, NUMBERS):
            return None
        scores = {name: float(value) for name, value in entry.items() if name not in _NO_MEASURE}
        if not np.isfinite([scores[MEASURE], *scores.values()]).all():
            return None
        return Scored(scores, _unpacked(entry.get("features")), int(entry["ts"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _packed(features: Sequence[float]) -> str | None:
    """Half precision in base64: the records are read and written whole."""
    return base64.b64encode(np.asarray(features, "<f2").tobytes()).decode() if len(features) else None


def _unpacked(text: str | None) -> np.ndarray | None:
    if text is None:
        return None
    features = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)
    return features if features.size and np.isfinite(features).all() else None
