"""The worker process: it loads models and predicts, and can be killed without the server.

What runs in the worker imports neither MONAI Label nor FastAPI.
"""

from __future__ import annotations

import ctypes
import functools
import multiprocessing
import threading
from concurrent.futures import Future
from dataclasses import dataclass
from multiprocessing.sharedctypes import RawValue
from pathlib import Path
from typing import TYPE_CHECKING

from pebble import ProcessPool

from monailabel_app.errors import WorkerLostError
from monailabel_app.jobs.results import ResultStore
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle

if TYPE_CHECKING:
    from uncertaintyseg.inference.predictor import Predictor

_STAGE_BYTES = 64
_WARM_MODELS = 4


@dataclass(frozen=True)
class Task:
    """One prediction, as it crosses to the worker: plain values."""

    key: str
    image: str
    bundle: str
    checksum: str
    seed: int
    samples: int
    device: str
    results: str


class Progress(ctypes.Structure):
    """Shared memory without a lock: a killed worker cannot leave it held."""

    _fields_ = (("fraction", ctypes.c_double), ("stage", ctypes.c_char * _STAGE_BYTES))

    def report(self, stage: str, fraction: float) -> None:
        """Say where the prediction stands; `fraction` runs from 0 to 1 over the whole of it."""
        self.stage = stage.encode(errors="replace")[: _STAGE_BYTES - 1]
        self.fraction = fraction


class Worker:
    """The server's handle on its one worker process, which starts again after a crash or a cancel."""

    def __init__(self) -> None:
        self._context = multiprocessing.get_context("spawn")  # a fork would copy the server's threads and locks
        self._progress = RawValue(Progress)
        self._pool: ProcessPool | None = None
        self._lock = threading.RLock()

    def submit(self, task: Task) -> Future[None]:
        """Start a prediction. Cancelling the future kills the process if it is at work on it."""
        self._progress.report("starting", 0.0)
        return self._ready_pool().schedule(predict, args=(task,))

    def ready(self) -> None:
        """See that there is a process; it takes a moment after a crash."""
        self._ready_pool()

    def warm_up(self) -> None:
        """Start the process and its imports now, so that the first prediction need not wait for them."""
        self._ready_pool().schedule(_import_predictor)

    def progress(self) -> tuple[str, float]:
        """Return the stage and the fraction of the prediction at work."""
        return self._progress.stage.decode(errors="replace"), self._progress.fraction

    def close(self) -> None:
        """Kill the process; the next prediction starts a new one."""
        with self._lock:
            if self._pool is not None:
                self._pool.stop()
                self._pool.join()
                self._pool = None

    def _ready_pool(self) -> ProcessPool:
        with self._lock:
            if self._pool is None or not self._pool.active:  # at first, and when the process died while it was idle
                self.close()
                self._pool = ProcessPool(1, initializer=_start, initargs=(self._progress,), context=self._context)
            if not self._pool.active:  # asking for the state is what starts it
                raise WorkerLostError("the worker process cannot be started; the server's log says why")
            return self._pool


_shared: list[Progress] = []


def _start(progress: Progress) -> None:
    _shared[:] = [progress]


def _import_predictor() -> None:
    import uncertaintyseg.inference.predictor  # noqa: F401, PLC0415 - torch belongs to the worker


def predict(task: Task) -> None:
    """Predict one image and put the result into the store. Runs in the worker.

    Raises:
        UncertaintySegError: The scan or the bundle cannot be used.
        MemoryError: There is not enough, on the device or on the machine.
    """
    predictor = _predictor(task.bundle, task.checksum, task.device)
    try:
        prediction = predictor.predict(
            Path(task.image), seed=task.seed, samples=task.samples, progress=_shared[0].report
        )
    except RuntimeError as error:  # torch's own classes for it differ by device and version
        if "out of memory" in str(error) or "can't allocate memory" in str(error):
            raise MemoryError(str(error)) from error
        raise
    ResultStore(Path(task.results)).put(task.key, prediction, predictor.bundle.labels)


@functools.lru_cache(maxsize=_WARM_MODELS)
def _predictor(folder: str, checksum: str, device: str) -> Predictor:
    from uncertaintyseg.inference.predictor import Predictor  # noqa: PLC0415 - torch belongs to the worker

    bundle = Bundle.load(Path(folder))
    if bundle.checksum != checksum:
        raise BundleError(f"{folder}: the weights changed since the server started. Restart the server to use them.")
    return Predictor(bundle, device=device)
