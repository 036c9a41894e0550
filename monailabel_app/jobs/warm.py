"""Models that stay loaded in a worker process between two pieces of work."""

from __future__ import annotations

import functools
import gc
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.training.versions import bundle_with

if TYPE_CHECKING:
    from uncertaintyseg.inference.crf import CRF
    from uncertaintyseg.inference.predictor import Predictor

_MODELS = 4


@functools.lru_cache(maxsize=_MODELS)
def warm_predictor(
    folder: str,
    checksum: str,
    device: str,
    *,
    method: str | None = None,
    options: str = "{}",
    others: tuple[str, ...] = (),
    crf: CRF | None = None,
    threshold: str | None = None,
    halvings: int = 0,
) -> Predictor:
    """A predictor, loaded when first asked for. Runs in the worker.

    Args:
        folder: of the bundle.
        checksum: of the weights that the job was queued for; newer ones may have been published since.
        device: torch device.
        method: passes to run it with.
        options: of these passes, as JSON.
        others: folders of the further members of an ensemble.
        crf: draws neighbours that look alike together; None: none.
        threshold: how the label is cut, as `Threshold.read` takes it.
        halvings: how often the model's windows are halved.

    Raises:
        BundleError: The bundle cannot be used, or holds no weights with this checksum any more.
        InputError: A method, option or device that does not exist.
    """
    from uncertaintyseg.inference.predictors import load_predictor  # noqa: PLC0415 - torch belongs to the worker

    def load() -> Predictor:
        return load_predictor(
            bundle_with(Path(folder), checksum),
            device,
            method=method,
            options=json.loads(options),
            others=[Bundle.load(other) for other in others],
            crf=crf,
            threshold=threshold,
            halvings=halvings,
        )

    predictor = load()
    if Bundle.load(predictor.bundle.folder).checksum != checksum:  # new weights were published while it was read
        return load()
    return predictor


def release() -> None:
    """Give back the memory of all models that are loaded."""
    warm_predictor.cache_clear()
    gc.collect()
    release_cached()


def release_cached() -> None:
    """Give back the memory of the device that is only kept for what may come."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
