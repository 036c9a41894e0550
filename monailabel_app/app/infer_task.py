"""One bundle as a MONAI Label infer task."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from monailabel_app.app.corrected import corrected_slices, takes_corrected
from monailabel_app.app.datastore import StudyDatastore
from monailabel_app.app.models import Models, describe
from monailabel_app.app.prompts import asked_for
from monailabel_app.app.scans_in_turn import ScansInTurn
from monailabel_app.app.scores import Scores
from monailabel_app.errors import NotFoundError
from monailabel_app.jobs import BatchJob, InferJob, JobQueue, Predict, Report, ResultStore, ScoreJob, Step
from monailabel_app.jobs.job import OnReport
from monailabel_app.jobs.requests import Asked, Requests
from monailabel_app.jobs.shown import SHOWN
from uncertaintyseg.data.channels import channel_files, files_of_channels
from uncertaintyseg.data.prompts import MARGIN
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.cutting import cut_of
from uncertaintyseg.inference.described import named
from uncertaintyseg.inference.methods import check_options, ensemble_members, model_with, options_of
from uncertaintyseg.inference.result_key import result_key
from uncertaintyseg.inference.run_settings import asked_crf, asked_threshold, crf_settings, threshold_settings
from uncertaintyseg.inference.shapes import SAMPLES
from uncertaintyseg.inference.thresholding import FOREGROUND
from uncertaintyseg.wire import PromptRequest

Voxel = Annotated[int, Field(ge=0, lt=2**31)]
Span = tuple[Voxel, Voxel]


class Params(BaseModel):
    """What a client may choose. Stock clients send fields of their own beside these; they change nothing."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def read(cls, values: Mapping[str, Any], *, strict: bool = False) -> Params:
        """Pick the parameters from a request.

        Args:
            values: by name.
            strict: Whether another name is an error; our own clients send none.

        Raises:
            InputError: Names the field that is wrong.
        """
        try:
            return cls.model_validate(values, extra="forbid" if strict else None)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise InputError(f"params.{place}: {first['msg']}{cls._limits(place)}") from error

    @classmethod
    def _limits(cls, name: str) -> str:
        """Both ends of a number's range, where it has one."""
        about = cls.model_json_schema()["properties"].get(name, {})
        ends = [about.get(end) for end in ("minimum", "maximum")]
        return "" if None in ends else f"; give a number from {ends[0]:g} to {ends[1]:g}"


class CalibrateParams(Params):
    """How to calibrate; as `uncertaintyseg calibrate` takes it."""

    by: str | None = Field(
        None,
        max_length=200,
        description="Map that drives; 'auto': the one that ranks errors best on the validation cases. By default what "
        "drove the last calibration.",
    )


RunSettings = create_model(
    "RunSettings",
    __base__=Params,
    **{
        option.name: (
            int if option.kind == "integer" else float,
            Field(option.default, ge=option.low, le=option.high, description=f"{option.text} Needs {option.needs}."),
        )
        for option in (*crf_settings(), *threshold_settings())
    },
)
"""The numbers of the CRF and of thresholds, as /info lists them."""


class InferParams(RunSettings):
    """How to infer; as `uncertaintyseg predict` takes it."""

    seed: int = Field(0, ge=0, lt=2**63)
    samples: int = Field(SAMPLES, ge=2, le=4096, description="Coherent samples behind volume intervals.")
    method: str | None = Field(None, description="Passes to run the model with, or the head of another model.")
    options: dict[str, Any] = Field(default_factory=dict, description="Of these passes.")
    crf: bool = Field(False, description="Draw labels of neighbours that look alike together.")
    threshold: str | None = Field(
        None,
        max_length=200,
        description="How the label is cut from a probability or a map marked: otsu, percentile, mean_std or fixed; or "
        "as on the command line, such as percentile=95, 0.4 or liver:otsu.",
    )
    threshold_of: str = Field(
        FOREGROUND, max_length=200, description="Foreground, a structure or an uncertainty map. Needs threshold."
    )
    structures: list[str] | None = Field(None, description="Those that get maps and rows of their own; null for all.")
    roi: tuple[Span, Span, Span] | None = Field(
        None, description="Look there only: first voxel and one after the last of each axis of the scan."
    )
    anomaly: str | None = Field(
        None,
        max_length=200,
        description="Structure whose expected mismatch is one more map: the chance to be on its wrong side.",
    )
    prompts: PromptRequest | None = Field(None, description="What a model that is prompted, as SAM, is asked for.")
    prompt_from: str | None = Field(
        None, max_length=200, description="Model around whose label boxes are put; never a reference."
    )
    prompt_region: str | None = Field(
        None, max_length=200, description="Structure around which roi is a box, in place of where to look."
    )
    prompt_plane: str | None = Field(None, max_length=20, description="Plane of the slices that are asked about.")
    prompt_margin: float = Field(MARGIN, ge=0, le=1, description="Share of its side that a box gets wider at each end.")
    examples: bool | None = Field(
        None,
        description="Show a model of UniverSeg the corrected slices of these studies in place of its own examples. By "
        "default where it has none.",
    )
    force: bool = Field(False, description="Take the channels of a scan as they are where they look swapped.")


class BatchParams(InferParams):
    """How to infer many images."""

    label_tag: str = Field("original", description="Where the labels are saved; never as final ones.")
    max_batch_size: int = Field(0, ge=0, lt=2**31, description="At most so many images; 0 for all.")


@dataclass(frozen=True)
class _Plan:
    """An inference whose scan is still to come.

    Attributes:
        bundle: whose weights it is by, now.
        asked: what else decides the result, see `result_key`.
        work: all but what is of the scan.
        takes_corrected: whether it is shown corrected slices.
    """

    bundle: Bundle
    asked: dict[str, Any]
    work: Predict
    takes_corrected: bool


class BundleInferTask(InferTask):
    """Predicts through the job queue; the server process itself never loads a network.

    Args:
        bundle: The model.
        models: All of them.
        datastore: Has the corrected slices that a model may be shown.
        queue: Where jobs go.
        store: Where results are.
        requests: What they were asked with.
        scores: Every inference is a score as well.
        device: Torch device of the worker.
    """

    def __init__(
        self,
        bundle: Bundle,
        models: Models,
        datastore: StudyDatastore,
        queue: JobQueue,
        store: ResultStore,
        requests: Requests,
        scores: Scores,
        device: str,
    ) -> None:
        super().__init__(
            type=InferType.SEGMENTATION,
            labels={label.name: label.id for label in bundle.labels},
            dimension=bundle.uncertainty.dimensions,
            description=bundle.description,
        )
        self.bundle = bundle
        self.checksum = bundle.checksum
        self._models, self._datastore = models, datastore
        self._queue = queue
        self._store = store
        self._requests = requests
        self._scores = scores
        self._device = device

    def is_valid(self) -> bool:
        """A bundle without weights is not offered."""
        return bool(self.checksum)

    def get_path(self, validate: bool = True) -> str | None:
        """Return the weights file, or None when it is missing and `validate` is set."""
        return str(self.bundle.weights) if self.checksum or not validate else None

    def info(self) -> dict[str, Any]:
        """Return what GET /info/ says of the model."""
        known = describe(self.bundle, self._models.values()).model_dump(exclude={"name", "versions"})
        details = known.pop("labels")  # stock clients find `{name: id}` under that name
        return {**super().info(), **known, "label_details": details, "bundle": self.bundle.name}

    def __call__(self, request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Submit and wait.

        Args:
            request: `image` (path of the scan), `image_id` (None when it is not in the datastore) and `InferParams`.

        Returns:
            Path of the label, which belongs to the result store, and the JSON of the reply.

        Raises:
            UncertaintySegError: The scan cannot be used, the job was cancelled or the worker died.
        """
        job = self.submit_infer(Path(request["image"]), request.get("image_id"), InferParams.read(request))
        return self.answer(job.outcome.result())

    def answer(self, result: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The label's path and the JSON of a stock reply, from what an infer job ended with."""
        label = self._store.label_path(result["risk"]["result"])
        return str(label), {"model": self.bundle.name, "label_names": result["label_names"], "risk": result["risk"]}

    def submit_infer(
        self,
        image: Path,
        image_id: str | None,
        params: InferParams,
        *,
        picked: bool = False,
        prefetch_for: str | None = None,
    ) -> InferJob:
        """Queue one inference; an image `picked` for its risk gets no promise, and a prefetch waits for the others."""
        step = self.step(image, image_id, params)
        record = self._recorder(params, picked=picked)
        job = InferJob(self.bundle.name, step, record, picked=picked, prefetch_for=prefetch_for)
        return self._queue.submit(job)

    def submit_score(self, scans: ScansInTurn, known: dict[str, float], params: InferParams) -> ScoreJob:
        """Queue the scoring of images; `known` scores join the result."""
        steps, record = self._steps(scans, params), self._recorder(params)
        return self._queue.submit(ScoreJob(self.bundle.name, steps, record, known))

    def submit_batch(self, scans: ScansInTurn, params: InferParams, save: Callable[[Step, Report], None]) -> BatchJob:
        """Queue the inference of images; `save` keeps each label."""
        record = self._recorder(params)

        def keep(step: Step, report: Report) -> None:
            record(step, report)
            save(step, report)

        return self._queue.submit(BatchJob(self.bundle.name, self._steps(scans, params), keep))

    def step(self, image: Path, image_id: str | None, params: InferParams) -> Step:
        """One inference as a step of a job.

        Raises:
            UncertaintySegError: The scan cannot be read, or there is no such method.
        """
        return Step(image_id, self._work(self._plan(params), image, image_id))

    def _work(self, plan: _Plan, image: Path, image_id: str | None) -> Predict:
        check_channels(plan.bundle, image, image_id)
        work, asked, shown = plan.work, plan.asked, None
        if plan.takes_corrected:
            folder = self._store.root.parent / SHOWN
            shown = corrected_slices(self._datastore, self._models, plan.bundle, image_id, folder)
            asked = {**asked, "examples": shown.key}
        how = {"seed": work.seed, "samples": work.samples, "device": work.device, "asked": asked}
        key = result_key(image, plan.bundle, **how)
        return replace(work, key=key, image=str(image), case=image_id, shown=shown)

    def _steps(self, scans: ScansInTurn, params: InferParams) -> list[Step]:
        """Steps that are made when their turn comes; what is wrong with the parameters is told now."""
        plan = self._plan(params)

        def make(image: str) -> Predict:
            return self._work(plan, scans.path(image), image)

        steps = [Step(image, plan.work, partial(make, image)) for image in scans.images]
        return [step.made() for step in steps] if scans.now else steps

    def _plan(self, params: InferParams) -> _Plan:
        """All of an inference but its scan."""
        bundle, method = model_with(self.bundle, params.method, *self._models.folders)
        Bundle.load(bundle.folder).base  # noqa: B018 - one that is gone, or has changed, is refused now and by name
        if params.options and method is None:
            name = next(iter(params.options))
            raise InputError(f"params.options: {name!r} is no choice without a 'method' of passes")
        options, others = dict(params.options), []
        if method == "ensemble":
            others = ensemble_members(bundle, options.pop("models", None), *self._models.folders)
        if method is not None:
            check_options(method, options_of(bundle, method, options))
        told = params.model_dump()
        crf, threshold = asked_crf(told), asked_threshold(told)
        for setting, what in ((crf, "a CRF"), (threshold, "a threshold")):
            if setting and bundle.uncertainty.parts:
                raise InputError(f"{bundle.name} is put together from several networks: {what} is not possible.")
        if threshold:
            cut_of(bundle, method, threshold)
        structures = None
        if params.structures is not None:
            structures = tuple(item.name for item in named(bundle.labels, params.structures))
        if params.anomaly:
            named(named(bundle.labels, structures), [params.anomaly])
        prompts = asked_for(bundle, params, self._models)
        roi = None if params.prompt_region else params.roi
        asked = {
            "method": method, "options": options, "others": [other.checksum for other in others],
            "crf": crf and (True if crf == CRF() else asdict(crf)), "threshold": threshold and str(threshold),
            "structures": structures, "roi": roi,
            "force": params.force, "anomaly": params.anomaly, "prompts": prompts and prompts.about,
        }  # fmt: skip
        work = Predict(
            key="",
            image="",
            bundle=str(bundle.folder),
            checksum=bundle.checksum,
            seed=params.seed,
            samples=params.samples,
            device=self._device,
            results=str(self._store.root),
            method=method,
            options=json.dumps(options, sort_keys=True),
            others=tuple(str(other.folder) for other in others),
            crf=crf,
            threshold=threshold and str(threshold),
            structures=structures,
            roi=roi,
            force=params.force,
            anomaly=params.anomaly or None,
            prompts=prompts,
        )  # fmt: skip
        asked = {name: value for name, value in asked.items() if value}
        return _Plan(bundle, asked, work, takes_corrected(bundle, params.examples))

    def _recorder(self, params: InferParams, *, picked: bool = False) -> OnReport:
        """What notes of a result how it was asked for, and the scores in it."""
        asked = params.model_dump(mode="json", include=set(InferParams.model_fields), exclude_defaults=True)

        def record(step: Step, report: Report) -> None:
            if step.image is None:
                return
            request = Asked(model=self.bundle.name, image=step.image, params=asked, key=step.work.key, picked=picked)
            self._requests.note(report.risk.result, request)
            made_by = report.risk.provenance
            if not (made_by.params or step.work.shown):  # a score is of a model as it is, not of passes around it
                scores, features = report.case_scores, report.features
                self._scores.record(step.image, made_by.model, made_by.weights_checksum, scores, features)

        return record


def check_channels(bundle: Bundle, image: Path, image_id: str | None) -> None:
    """Raise `InputError` for a scan that has fewer channels than a model takes, or more; one channel needs no check."""
    names, scan = bundle.channels, image_id or "the scan"
    if len(names) == 1:
        return
    takes = f"{bundle.name} takes {len(names)} channels ({', '.join(names)})"
    held = len(files_of_channels(image))
    if held > len(names):
        raise InputError(f"{scan} has {held} channels; {takes}")
    try:
        channel_files(image, len(names), names)
    except InputError as error:
        way_out = "send the first as the scan's file and the others under 'channels', in this order"
        raise InputError(f"{scan} has {held} of them, one file each: {takes}; {way_out}") from error


def find_task(tasks: Mapping[str, BundleInferTask], model: Any) -> BundleInferTask:
    """Return a task by name. Raises `NotFoundError` that lists the names there are."""
    task = tasks.get(model) if isinstance(model, str) else None  # stock routes take any JSON for it
    if task is None:
        raise NotFoundError(f"no model {model!r}; this server has {', '.join(sorted(tasks))}")
    return task
