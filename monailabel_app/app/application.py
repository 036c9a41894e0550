"""The app: bundles become infer tasks, and all long work goes to one queue."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import platformdirs
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp

from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.infer_task import BundleInferTask, InferParams, find_task
from monailabel_app.app.sampling import EntropySampling, RandomSampling
from monailabel_app.app.scores import Scores
from monailabel_app.app.scoring import EntropyScoring
from monailabel_app.app.sessions import CheckedSessions
from monailabel_app.errors import NotFoundError, UnavailableError
from monailabel_app.jobs import InferJob, JobQueue, ResultStore, ScoreJob, Worker
from monailabel_app.jobs.job import MEASURE
from uncertaintyseg import __version__
from uncertaintyseg.errors import BundleError, UncertaintySegError
from uncertaintyseg.inference.bundle import find_bundles

START_LINE = (
    "monailabel start_server --app monailabel_app --studies DIR --host 127.0.0.1 --uvicorn_app monailabel_app.asgi:app"
)


class UncertaintySegApp(MONAILabelApp):
    """Serves every bundle it finds.

    Args:
        app_dir: MONAI Label's app folder; only its logs are used.
        studies: Folder with the scans.
        conf: `--conf` pairs: `models` (more bundle folders, separated as in PATH), `cache` (folder of results),
            `cache_gb`, `device`.

    Raises:
        UncertaintySegError: Not started with our ASGI app, the studies folder cannot be used, or a bundle is broken.
    """

    def __init__(self, app_dir: str, studies: str, conf: dict[str, str]) -> None:
        if "monailabel_app.asgi" not in sys.modules:
            raise UncertaintySegError(
                "this app needs its own ASGI app, which keeps inference out of the server process. "
                f"Start it with\n\n    {START_LINE}\n\nor: uncertaintyseg serve --studies DIR"
            )
        super().__init__(
            app_dir=app_dir,
            studies=studies,
            conf=conf,
            name="SlicerUncertaintySeg",
            description="Segmentation that knows where it is unsure",
            version=__version__,
        )
        self._auto_update_scoring = False  # it would score with every method at every sample

    def init_datastore(self) -> StudyDatastore:
        """Open the studies folder, which this process alone may do."""
        if self.studies.startswith(("http://", "https://")):
            raise UnavailableError(f"--studies {self.studies}: this version serves folders only, no DICOMweb")
        return StudyDatastore(self.studies, auto_reload=settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD)

    def init_infers(self) -> dict[str, BundleInferTask]:
        """One task a bundle; the queue and the store come with them."""
        cache = self.conf.get("cache") or platformdirs.user_cache_dir("uncertaintyseg")
        limit = float(self.conf.get("cache_gb", "10")) * 1024**3
        self.results = ResultStore(Path(cache) / "results", int(limit))
        self.scores = Scores(self.datastore())
        self.queue = JobQueue(self.results, Worker())
        folders = [Path(folder) for folder in self.conf.get("models", "").split(os.pathsep) if folder]
        device = self.conf.get("device", "cpu")
        bundles = find_bundles(*folders)
        if not bundles:
            raise BundleError("no model found: give a folder of bundles with --models DIR (or --conf models DIR)")
        return {
            name: BundleInferTask(bundle, self.queue, self.results, self.scores, device)
            for name, bundle in bundles.items()
        }

    def init_strategies(self) -> dict[str, RandomSampling | EntropySampling]:
        """`random` and `predictive_entropy`."""
        return {RandomSampling.name: RandomSampling(), EntropySampling.name: EntropySampling(self.scores, self._infers)}

    def init_scoring_methods(self) -> dict[str, EntropyScoring]:
        """`predictive_entropy`, under the name of the strategy that uses it."""
        return {MEASURE: EntropyScoring(self.submit_score, list(self._infers))}

    def infer(self, request: dict[str, Any], datastore: None = None) -> dict[str, Any]:  # noqa: ARG002 - inherited signature
        """Infer and wait.

        Args:
            request: `model`, the fields of `InferParams`, and either `image` (an id, never a path) or `upload` (path
                of a scan that came with the request).
            datastore: MONAI Label's argument; there is one datastore.

        Returns:
            `file` (belongs to the result store) and `params`.

        Raises:
            NotFoundError: No such model or image.
            UncertaintySegError: The scan cannot be used, the job was cancelled or the worker died.
        """
        task = find_task(self._infers, request["model"])
        image_id = None if "upload" in request else request["image"]
        path = request["upload"] if image_id is None else self.datastore().image_path(image_id)
        file, params = task({**request, "image": path, "image_id": image_id})
        return {"file": file, "params": params}

    def submit_infer(self, model: str, image: str, params: InferParams) -> InferJob:
        """Queue one inference. Raises `NotFoundError` for an unknown model or image."""
        return find_task(self._infers, model).submit_infer(self.datastore().image_path(image), image, params)

    def submit_score(self, model: str, image: str | None = None, params: InferParams | None = None) -> ScoreJob:
        """Queue scoring: one image, or all unlabelled ones that have no score by these weights.

        Raises:
            NotFoundError: No such model or image.
        """
        task = find_task(self._infers, model)
        images = [image] if image is not None else self.datastore().get_unlabeled_images()
        known = {i: s for i, s in self.scores.of(model, task.checksum).items() if i in images}
        paths = {i: self.datastore().image_path(i) for i in images if i not in known}
        return task.submit_score(paths, known, params or InferParams())

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next image to label. Raises `NotFoundError` for an unknown strategy."""
        strategy = self._strategies.get(request["strategy"])
        if strategy is None:
            raise NotFoundError(f"no strategy {request['strategy']!r}; there are {', '.join(self._strategies)}")
        return strategy(request, self.datastore())

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Queue a scoring method, all of them when None; MONAI Label would start a second app for it."""
        if method is None:
            return {name: self.async_scoring(name, params) for name in self._scoring_methods}
        if method not in self._scoring_methods:
            raise NotFoundError(f"no scoring method {method!r}; there are {', '.join(self._scoring_methods)}")
        return self._scoring_methods[method](params or {}, self.datastore())

    def label_ids(self, model: str | None = None) -> set[int]:
        """Return the class ids that a saved label may hold: those of one model, else of all."""
        tasks = self._infers.values() if model is None else [find_task(self._infers, model)]
        return {label.id for task in tasks for label in task.bundle.labels}

    def on_init_complete(self) -> None:
        """Begin to load the worker, so that the first inference need not wait for it."""
        super().on_init_complete()
        self.queue.warm_up()

    def close(self) -> None:
        """Stop the worker and whatever waits for it."""
        self.queue.close()

    def _load_sessions(self, load: bool = False) -> CheckedSessions | None:
        if not load:
            return None
        return CheckedSessions(settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY)
