"""The app: bundles become infer tasks, and all long work goes to one queue."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import platformdirs
from monailabel.config import settings
from monailabel.interfaces.app import MONAILabelApp
from monailabel.interfaces.tasks.batch_infer import BatchInferImageType

from monailabel_app.access import Access, number_in
from monailabel_app.app.assignments import Assignments
from monailabel_app.app.batch_labels import BatchLabels, batch_images, checked_batch_tag
from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.dicomweb import open_dicomweb
from monailabel_app.app.hand_labels import unclear_numbers
from monailabel_app.app.infer_task import BatchParams, BundleInferTask, CalibrateParams, InferParams, find_task
from monailabel_app.app.label_names import ids_by_name, one_name_each
from monailabel_app.app.labelled import check_reserved, labelled_cases
from monailabel_app.app.models import Models, Tasks, describe, is_trainable
from monailabel_app.app.readings import Readings
from monailabel_app.app.sampling import Sampling, was_picked
from monailabel_app.app.scans_in_turn import ScansInTurn
from monailabel_app.app.scores import Scores
from monailabel_app.app.scoring import EntropyScoring, ScoreKeeper
from monailabel_app.app.sessions import CheckedSessions
from monailabel_app.app.train_task import BundleTrainTask, TrainParams
from monailabel_app.devices import asked_devices, device_of_keys
from monailabel_app.errors import NotFoundError
from monailabel_app.intake.decoded import Decoded
from monailabel_app.jobs import (
    BatchJob,
    CalibrateJob,
    InferJob,
    JobQueue,
    ResultStore,
    ScoreJob,
    TrainJob,
    Worker,
    local_devices,
)
from monailabel_app.jobs.calibrate import Calibrate
from monailabel_app.jobs.job import MEASURE
from monailabel_app.jobs.requests import Asked, Requests
from monailabel_app.preflight import is_url
from monailabel_app.ray_option import asked_ray
from monailabel_app.store.known import KnownStudies
from monailabel_app.store.records import Version
from uncertaintyseg import __version__, wire
from uncertaintyseg.active.strategies import STRATEGIES
from uncertaintyseg.errors import BundleError, InputError, UncertaintySegError
from uncertaintyseg.inference.bundle import Bundle, user_models
from uncertaintyseg.training.versions import last_driver, restore
from uncertaintyseg.wire import Label

logger = logging.getLogger(__name__)

_TRAINING_STANDS_BACK = 19  # the most that a process may
START_LINE = (
    "monailabel start_server --app monailabel_app --studies DIR --host 127.0.0.1 --uvicorn_app monailabel_app.asgi:app"
)


class UncertaintySegApp(MONAILabelApp):
    """Serves every bundle it finds.

    Args:
        app_dir: MONAI Label's app folder; only its logs are used.
        studies: Folder with the scans, or address of a DICOMweb server.
        conf: `--conf` pairs: `models` (more bundle folders, separated as in PATH), `cache` (folder of results),
            `cache_gb`, `device`, or several `devices` with commas between; `ray`, `ray_workers`, `ray_scans`.

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
        self.on_batch_label: Callable[[str, Version], None] = lambda _model, _version: None
        """Told of each label that a batch saves, in the same transaction."""

    def init_datastore(self) -> StudyDatastore:
        """Open the studies, a folder or a DICOMweb server, which this process alone may do."""
        self._open_models()
        self._decoded = Decoded(self._cache / "decoded", self._cache_bytes())
        versions = int(number_in(self.conf, "keep_versions", 0, low=0, high=1e6))
        kept = {"audit": Access.from_conf(self.conf).audit, "keep_versions": versions, "unclear": self.unclear_numbers}
        if is_url(self.studies):
            return open_dicomweb(self.studies, self._cache_bytes(), self.structures, **kept)
        kept |= {"channels": self.channel_counts, "decoded": self._decoded}
        reload, new = settings.MONAI_LABEL_DATASTORE_AUTO_RELOAD, bool(self.conf.get("new"))
        return StudyDatastore(self.studies, auto_reload=reload, known=KnownStudies(), new=new, **kept)

    def unclear_numbers(self) -> dict[int, str]:
        """Which numbers of a label that somebody puts into the folder could be either of two structures, and which."""
        return unclear_numbers(self.models.values())

    def _open_models(self) -> None:
        folders = [Path(folder) for folder in self.conf.get("models", "").split(os.pathsep) if folder]
        self.models = Models(folders, folders[-1] if folders else user_models())

    def channel_counts(self) -> set[int]:
        """How many channels the models take that take more than one."""
        counts = set()
        for bundle in self.models.values():
            with suppress(BundleError):  # whoever runs it learns what is wrong
                counts.add(len(bundle.channels))
        return counts - {1}

    def init_infers(self) -> Tasks[BundleInferTask]:
        """One task a bundle; the queue and the store come with them."""
        self.results = ResultStore(self._cache / "results", self._cache_bytes())
        self.requests = Requests(self._cache / "requests")
        self.scores = Scores(self.datastore())
        devices = asked_devices(self.conf)
        self.training_device, device = devices[0], device_of_keys(devices)
        trainer = Worker(_TRAINING_STANDS_BACK, device=self.training_device)
        self.queue = JobQueue(self.results, [*local_devices(devices), *asked_ray(self.conf, devices[0])], trainer)
        self._decoded.in_use = self.queue.files
        beside = (self.models, self.datastore(), self.queue, self.results, self.requests, self.scores, device)
        return Tasks(self.models, lambda bundle: BundleInferTask(bundle, *beside))

    def init_trainers(self) -> Tasks[BundleTrainTask]:
        """One task a bundle that says how it is trained."""

        def make(bundle: Bundle) -> BundleTrainTask | None:
            if not is_trainable(bundle):
                return None
            return BundleTrainTask(bundle, self.models, self.queue, self.training_device, self.on_trained)

        return Tasks(self.models, make)

    def init_strategies(self) -> dict[str, Sampling]:
        """Those of `uncertaintyseg.active`, by name."""
        self.assignments = Assignments(self.datastore())
        self.readings = Readings(self)
        return {name: Sampling(name, self.scores, self._infers, self.assignments) for name in STRATEGIES}

    def init_scoring_methods(self) -> dict[str, EntropyScoring]:
        """One, under the name of the measure that its result shows."""
        self.score_keeper = ScoreKeeper(self.submit_score, self.scores, self._infers, self.datastore())
        return {MEASURE: EntropyScoring(self.submit_score, list(self._infers))}

    def infer(self, request: dict[str, Any], datastore: None = None) -> dict[str, Any]:  # noqa: ARG002 - inherited signature
        """Infer and wait: `submit_request`, then `answer`."""
        return self.answer(request["model"], self.submit_request(request).outcome.result())

    def answer(self, model: str, result: dict[str, Any]) -> dict[str, Any]:
        """What MONAI Label answers with: `file`, which belongs to the result store, and `params`."""
        file, params = find_task(self._infers, model).answer(result)
        return {"file": file, "params": params}

    def submit_request(self, request: dict[str, Any]) -> InferJob:
        """Queue an inference that a stock client asks for.

        Args:
            request: `model`, the fields of `InferParams`, and either `image` (an id, never a path) or `upload` (path
                of a scan that came with the request).

        Raises:
            NotFoundError: No such model or image.
            InputError: A field is wrong, or the scan cannot be read.
        """
        task, params = find_task(self._infers, request["model"]), InferParams.read(request)
        if "upload" in request:
            return task.submit_infer(request["upload"], None, params)
        return self.submit_infer(request["model"], request["image"], params)

    def submit_infer(self, model: str, image: str, params: InferParams, *, prefetch_for: str | None = None) -> InferJob:
        """Queue one inference, with the name of an annotator in the background, for they will want it soon.

        Raises:
            NotFoundError: No such model or image.
        """
        task, datastore = find_task(self._infers, model), self.datastore()
        path, picked = datastore.image_path(image), was_picked(datastore.get_image_info(image))
        return task.submit_infer(path, image, params, picked=picked, prefetch_for=prefetch_for)

    def submit_again(self, asked: Asked) -> InferJob | None:
        """Queue an inference once more; None where the scan, the model or our numbers are others by now.

        Raises:
            NotFoundError: The model or the image is gone.
            InputError: The scan cannot be read.
        """
        params = InferParams.read(asked.params)
        step = find_task(self._infers, asked.model).step(self.datastore().image_path(asked.image), asked.image, params)
        return self.submit_infer(asked.model, asked.image, params) if step.work.key == asked.key else None

    def submit_score(self, model: str, image: str | None = None, params: InferParams | None = None) -> ScoreJob:
        """Queue scoring: one image, whose result is then there, or all unlabelled ones without a score by the weights.

        Raises:
            NotFoundError: No such model or image.
        """
        task = find_task(self._infers, model)
        images = [image] if image is not None else self.datastore().get_unlabeled_images()
        known = {i: s for i, s in self.scores.of(model, task.checksum).items() if image is None and i in images}
        scans = ScansInTurn(self.datastore(), [i for i in images if i not in known], now=image is not None)
        job = task.submit_score(scans, known, params or InferParams())
        if image is None:
            self.score_keeper.begin(model)
        return job

    def submit_batch(self, model: str, images: str | list[str], params: BatchParams) -> BatchJob:
        """Queue the inference of "all", "labeled" or "unlabeled" images, or of those named; labels are saved.

        Raises:
            NotFoundError: No such model or image.
            InputError: The tag is that of final labels, which are people's.
        """
        tag, task, datastore = checked_batch_tag(params.label_tag), find_task(self._infers, model), self.datastore()
        scans = ScansInTurn(datastore, batch_images(datastore, images)[: params.max_batch_size or None])
        labels = BatchLabels(datastore, self.results, model, tag, lambda version: self.on_batch_label(model, version))
        return task.submit_batch(scans, params, labels.save)

    def submit_train(self, model: str, params: TrainParams) -> TrainJob:
        """Queue a training on the final labels.

        Raises:
            NotFoundError: No such model.
            InputError: It says nothing of how it is trained, or there are too few labels.
        """
        find_task(self._infers, model)
        if model not in self.trainers:
            raise InputError(f"{model} has no configs/train.json, so it cannot be trained here")
        return self.trainers[model].submit(self.datastore(), params)

    def on_trained(self, model: str, result: dict[str, Any]) -> None:
        """Score with new weights, and calibrate them where labelled cases are reserved for it."""
        if result["published"]:
            self.score_keeper.catch_up()
            try:
                self.submit_calibrate(model)
            except UncertaintySegError as error:
                logger.info("%s is not calibrated: %s", model, error)

    def submit_calibrate(self, model: str, params: CalibrateParams | None = None) -> CalibrateJob:
        """Queue a calibration of the weights in use on the labelled cases reserved for it.

        Unless asked otherwise it is driven by the map that drove the last one.

        Raises:
            NotFoundError: No such model.
            InputError: There is no such case.
        """
        bundle = find_task(self._infers, model).bundle
        cases = labelled_cases(self.datastore(), bundle, self.models)
        by = (params and params.by) or last_driver(bundle)
        check_reserved(cases, bundle)
        work = Calibrate(
            str(bundle.folder), bundle.checksum, cases.calibration, str(self.models.home), self.training_device,
            by=by, validation=cases.validation,
        )  # fmt: skip
        return self.queue.submit(CalibrateJob(model, work))

    def describe_model(self, name: str) -> wire.Model:
        """Say what is known of a model. Raises `NotFoundError` when there is none."""
        return describe(find_task(self._infers, name).bundle, self.models.values())

    def restore_model(self, name: str, version: int) -> wire.Model:
        """Put older weights back into use.

        Raises:
            NotFoundError: No such model.
            InputError: No such version.
        """
        return describe(restore(find_task(self._infers, name).bundle, version), self.models.values())

    @property
    def folders(self) -> list[Path]:
        """Where this server keeps what is not the studies' own: logs, results and uploads of sessions."""
        sessions = self.sessions()
        uploads = [] if sessions is None else [Path(sessions.store_path)]
        return [Path(self.app_dir) / "logs", self.results.root, self.requests.root, *uploads]

    @property
    def infers(self) -> Mapping[str, BundleInferTask]:
        """Infer tasks by name."""
        return self._infers

    @property
    def trainers(self) -> Mapping[str, BundleTrainTask]:
        """Train tasks by name."""
        return self._trainers

    def async_training(
        self,
        model: str | list[str] | None,
        params: dict[str, Any] | None = None,
        enqueue: bool = False,  # noqa: ARG002 - inherited signature
    ) -> dict[str, Any]:
        """Queue trainings; MONAI Label would start a second app for them."""
        if isinstance(model, str):
            return {"id": self.submit_train(model, TrainParams.read((params or {}).get(model) or {})).id}
        return {name: self.async_training(name, params) for name in model or self.trainers}

    def async_batch_infer(
        self, model: str, images: BatchInferImageType, params: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Queue a batch inference; MONAI Label would start a second app for it."""
        return {"id": self.submit_batch(model, BatchInferImageType(images).value, BatchParams.read(params or {})).id}

    def batch_infer(self, request: dict[str, Any], datastore: None = None) -> dict[str, Any]:  # noqa: ARG002
        """Infer many images and wait."""
        images = BatchInferImageType(request.get("images", "all")).value
        return self.submit_batch(request["model"], images, BatchParams.read(request)).outcome.result()

    def next_sample(self, request: dict[str, Any]) -> dict[str, Any]:
        """Choose the next image to label. Raises `NotFoundError` for an unknown strategy."""
        strategy = self._strategies.get(request["strategy"])
        if strategy is None:
            raise NotFoundError(f"no strategy {request['strategy']!r}; there are {', '.join(self._strategies)}")
        self.score_keeper.catch_up()
        return strategy(request, self.datastore())

    def async_scoring(self, method: str | None, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Queue a scoring method, all of them when None; MONAI Label would start a second app for it."""
        if method is None:
            return {name: self.async_scoring(name, params) for name in self._scoring_methods}
        if method not in self._scoring_methods:
            raise NotFoundError(f"no scoring method {method!r}; there are {', '.join(self._scoring_methods)}")
        return self._scoring_methods[method](params or {}, self.datastore())

    def label_ids(self, model: str | None = None) -> dict[str, int]:
        """Return the class ids that a saved label may hold, by name: those of one model, else of all."""
        tasks = self._infers.values() if model is None else [find_task(self._infers, model)]
        return ids_by_name(label for task in tasks for label in task.bundle.labels)

    def on_save_label(self, image_id: str, label_id: str) -> None:  # noqa: ARG002 - inherited signature
        """Score what is left to label, and pass the label on to a DICOMweb server.

        Raises:
            DicomWebError: It does not get there.
        """
        self.score_keeper.catch_up()
        self.datastore().deliver(image_id)

    def structures(self, model: str | None = None) -> tuple[list[Label], str]:
        """Return what `label_ids` stand for and the checksum of the model's weights, empty where none is named."""
        if model is not None:
            task = find_task(self._infers, model)
            return task.bundle.labels, task.checksum
        return one_name_each(label for task in self._infers.values() for label in task.bundle.labels), ""

    @property
    def _cache(self) -> Path:
        return Path(self.conf.get("cache") or platformdirs.user_cache_dir("uncertaintyseg"))

    def _cache_bytes(self) -> int:
        return int(number_in(self.conf, "cache_gb", 10, low=0, high=1e6) * 1024**3)

    def info(self) -> dict[str, Any]:
        """Return what GET /info/ says: MONAI Label's own and ours.

        `warming_up`: whether an inference would wait for it. `devices`: what each has done, and why it is set aside, if
        it is; a Ray cluster is one. `archive`: address of the DICOMweb server behind the studies, null where they are a
        folder. `prefetch`: an inference can be one, and a strategy be asked to `peek`.
        """
        ours = {"warming_up": self.queue.warming_up, "archive": self.datastore().archive, "prefetch": True}
        return {**super().info(), **ours, "devices": self.queue.describe_devices()}

    def on_init_complete(self) -> None:
        """Begin to load the worker, so that the first inference need not wait for it."""
        super().on_init_complete()
        self.queue.warm_up()

    def close(self) -> None:
        """Stop the worker and whatever waits for it."""
        self.queue.close()

    def close_studies(self) -> None:
        """Export what is left and let others have the studies; nothing can be asked or saved from then on."""
        self.datastore().close()

    def _load_sessions(self, load: bool = False) -> CheckedSessions | None:
        if not load:
            return None
        path, expiry = settings.MONAI_LABEL_SESSION_PATH, settings.MONAI_LABEL_SESSION_EXPIRY
        return CheckedSessions(path, expiry, self._cache_bytes())
