"""A predictor that goes on with smaller windows, then on the CPU, where memory runs out."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from uncertaintyseg.errors import UncertaintySegError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.methods import model_with
from uncertaintyseg.inference.model_hash import run_hash
from uncertaintyseg.inference.out_of_memory import attempts, may_fit_otherwise
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.predictors import predictor_for

if TYPE_CHECKING:
    from uncertaintyseg.inference.case_loop import PredictorSpec

logger = logging.getLogger(__name__)


class Fallback:
    """Predicts as the model says, and what that is too large for otherwise; the next scan is tried as it says again.

    Args:
        spec: with one device.

    Raises:
        UncertaintySegError: the model cannot be loaded, or its folder holds another than the one that is meant.
    """

    def __init__(self, spec: PredictorSpec) -> None:
        self._spec, (self._device,) = spec, spec.devices
        self.bundle, _ = model_with(Bundle.load(spec.folder), spec.method, *spec.folders)
        if run_hash(self.bundle, spec.method, spec.options, *spec.folders) != spec.checksum:
            raise UncertaintySegError(
                f"{self.bundle.folder}: this model is not the one that the command was given: its weights or its "
                "configuration differ. Copy the same folder everywhere."
            )
        self.predictor = self._load(self._device, 0)

    @property
    def calibration(self) -> Any:
        """As of the predictor."""
        return self.predictor.calibration

    @property
    def drivers(self) -> tuple[str, ...]:
        """As of the predictor."""
        return self.predictor.drivers

    @property
    def title(self) -> str:
        """As of the predictor."""
        return self.predictor.title

    def predict(self, image: Any, **given: Any) -> Prediction:
        """As `Predictor.predict`; in `provenance.fallback` it says what was done otherwise."""
        failed = ""
        for device, halvings in attempts(self._device):
            try:
                predictor = self.predictor if not failed else self._load(device, halvings)
                prediction = predictor.predict(image, **given)
                return _noted(prediction, f"{failed}: done on {device}") if failed else prediction
            except Exception as error:
                if not may_fit_otherwise(error, device):
                    raise
                failed = failed or f"out of memory on {device} with the model's own windows"
                logger.warning("%s: out of memory on %s, windows halved %d times", image, device, halvings)
            _release()
        raise MemoryError(failed)

    def samples(self, prediction: Prediction, count: int, *given: Any, **named: Any) -> Iterable[np.ndarray]:
        """As `Predictor.samples`; what is drawn lies in the prediction's state, however it was made."""
        return self.predictor.samples(prediction, count, *given, **named)

    def _load(self, device: str, halvings: int) -> Predictor:
        spec = self._spec
        predictor = predictor_for(
            self.bundle, spec.method, spec.folders, options=spec.options, device=device, crf=spec.crf,
            threshold=spec.threshold, halvings=halvings,
        )  # fmt: skip
        predictor.force = spec.force
        if spec.asking is not None:
            predictor.asking = spec.asking(predictor.bundle, device)
        return predictor


def _noted(prediction: Prediction, how: str) -> Prediction:
    window = " x ".join(map(str, prediction.provenance.window))
    note = {"fallback": f"{how} with windows of {window}"}
    return replace(prediction, provenance=prediction.provenance.model_copy(update=note))


def _release() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
