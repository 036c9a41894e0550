"""The road of a review, without widgets: connect, next case, run, look at maps, submit."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from UncertaintySegLib.background import Report, Worker
from UncertaintySegLib.case import CaseScene
from UncertaintySegLib.client import Client
from UncertaintySegLib.errors import Cancelled, UncertaintySegError
from UncertaintySegLib.replies import InferResult, Job, Sample, ServerInfo

FIRST_MAP = "predictive_entropy"

_logger = logging.getLogger(__name__)


@dataclass
class State:
    """What the panel shows. `message` is the status line; `fraction` is None while nothing runs."""

    info: ServerInfo | None = None
    sample: Sample | None = None
    result: InferResult | None = None
    shown_map: str | None = None
    message: str = ""
    is_error: bool = False
    stage: str = ""
    fraction: float | None = None


class Review:
    """Takes one case after another from the server, shows them, and sends labels back.

    Methods that need the server return at once; `pump` must be called now and then (a timer does) until
    `state.fraction` is None again. Errors end in `state.message`, never in an exception.

    Args:
        case: Where to show things.
        folder: Where to keep downloads.
        changed: Called after every change of `state`.
    """

    def __init__(self, case: CaseScene, folder: Path, changed: Callable[[], None]) -> None:
        self.case = case
        self.state = State()
        self._client: Client | None = None
        self._folder = folder
        self._changed = changed
        self._worker = Worker(self._show_progress)

    @property
    def busy(self) -> bool:
        """Whether something runs that `cancel` can stop."""
        return self._worker.running

    def connect(self, url: str, token: str | None = None) -> None:
        """Ask the server at `url` what it offers."""

        def work(report: Report) -> tuple[Client, ServerInfo]:
            client = Client(url, token)
            report("Connecting", 0.0)
            return client, client.info()

        def done(found: tuple[Client, ServerInfo]) -> None:
            self._client, self.state.info = found
            names = len(found[1].models)
            self._say(f"Connected to {found[1].name}: {names} model{'s' if names != 1 else ''}.")

        self._client = self.state.info = None
        self._start(work, done)

    def next_case(self, strategy: str) -> None:
        """Ask for the next case, download its scan, and show it."""
        client = self._client

        def work(report: Report) -> tuple[Sample, Path] | None:
            report("Choosing the next case", 0.0)
            sample = client.next_sample(strategy)
            if sample is None:
                return None
            fetch = _share(report, f"Downloading {sample.id}", 0.0, 1.0)
            return sample, client.fetch_image(sample.id, self._folder, fetch)

        def done(found: tuple[Sample, Path] | None) -> None:
            if found is None:
                self._say("Every case has a label: nothing is left to review.")
                return
            sample, path = found
            self.case.show_scan(sample.id, path)
            self.state.sample, self.state.result, self.state.shown_map = sample, None, None
            self._say(sample.reason or f"{sample.id} is the next case.")

        self._start(work, done)

    def score(self, model: str) -> None:
        """Score every case without a label, so that a strategy can rank them."""
        client = self._client

        def work(report: Report) -> dict[str, float]:
            return client.score(model, progress=lambda job: report(f"Scoring: {job.stage}", job.fraction))

        def done(scores: dict[str, float]) -> None:
            cases = f"{len(scores)} case{'s' if len(scores) != 1 else ''}"
            self._say(f"{cases} scored by {model}: Next case brings the most doubtful one.")

        self._start(work, done)

    def run(self, model: str) -> None:
        """Segment the case with a model and show its label and first map."""
        client, sample = self._client, self.state.sample

        def work(report: Report) -> tuple[InferResult, Path, str | None, Path | None]:
            def follow(job: Job) -> None:
                waiting = f"Waiting for {job.queue_position} other{'s' if job.queue_position != 1 else ''}"
                stage = waiting if job.state == "queued" and job.queue_position else job.stage or job.state
                report(stage.capitalize(), 0.9 * job.fraction)

            result = client.infer(model, sample.id, progress=follow)
            label = client.fetch_label(result, self._folder, _share(report, "Downloading the label", 0.9, 0.93))
            first = FIRST_MAP if FIRST_MAP in result.maps else next(iter(result.maps), None)
            fetch = _share(report, "Downloading the map", 0.93, 1.0)
            return result, label, first, client.fetch_map(result, first, self._folder, fetch) if first else None

        def done(found: tuple[InferResult, Path, str | None, Path | None]) -> None:
            result, label, first, path = found
            self.case.show_segmentation(label, result.labels, result.provenance)
            self.state.result, self.state.shown_map = result, None
            if first:
                self._show(first, path)
            self._say(f"{sample.id} segmented by {model}.")

        self._start(work, done)

    def show_map(self, name: str | None) -> None:
        """Show a risk map of the result, fetched when it is not here yet; None shows the scan alone."""
        result = self.state.result
        if name is None or name in self.case.maps:
            self.case.show_map(name)
            self.state.shown_map = name
            self._changed()
            return
        client = self._client

        def work(report: Report) -> Path:
            return client.fetch_map(result, name, self._folder, _share(report, "Downloading the map", 0.0, 1.0))

        def done(path: Path) -> None:
            self._show(name, path)
            self._say("")

        self._start(work, done)

    def submit(self) -> None:
        """Send the segmentation, as it now is, to the server as the case's final label."""
        client, sample = self._client, self.state.sample
        path = self._folder / f"{sample.id}_label.nii.gz"
        try:
            left_out = self.case.write_label(path)
        except UncertaintySegError as error:
            self._fail(error)
            return

        def work(report: Report) -> str:
            return client.upload_label(sample.id, path, progress=_share(report, "Sending the label", 0.0, 1.0))

        def done(_: str) -> None:
            self.case.edited = False
            kept = f" Left out, for the model has no such label: {', '.join(left_out)}." if left_out else ""
            self._say(f"The label of {sample.id} is saved on the server.{kept}")

        self._start(work, done)

    def cancel(self) -> None:
        """Stop what runs, on the server too."""
        self._worker.cancel()

    def pump(self) -> None:
        """Handle what has come from the server since the last call."""
        self._worker.pump()

    def forget_case(self) -> None:
        """Forget the case, whose nodes are gone (the scene was closed)."""
        self.case = CaseScene(self.case.scene)
        self.state.sample = self.state.result = self.state.shown_map = None
        self._say("")

    def _show(self, name: str, path: Path) -> None:
        result = self.state.result
        self.case.add_map(name, path, result.maps[name], result.provenance)
        self.case.show_map(name)
        self.state.shown_map = name

    def _start(self, work: Callable[[Report], Any], done: Callable[[Any], None]) -> None:
        def finish(outcome: Any) -> None:
            self.state.fraction = None
            try:
                done(outcome)
            except UncertaintySegError as error:
                self._fail(error)

        self.state.fraction, self.state.stage = 0.0, ""
        self.state.message, self.state.is_error = "", False
        self._worker.start(work, finish, self._fail)
        self._changed()

    def _show_progress(self, stage: str, fraction: float) -> None:
        self.state.stage, self.state.fraction = stage, fraction
        self._changed()

    def _say(self, message: str) -> None:
        self.state.message, self.state.is_error = message, False
        self._changed()

    def _fail(self, error: Exception) -> None:
        self.state.fraction = None
        if isinstance(error, Cancelled):
            self._say("Cancelled.")
            return
        expected = isinstance(error, UncertaintySegError)
        self.state.message = str(error) if expected else f"Unexpected error: {error}. The log has the details."
        self.state.is_error = True
        _logger.error("%s", error)
        self._changed()


def _share(report: Report, stage: str, start: float, end: float) -> Callable[[float], None]:
    """Return a progress callback whose 0 to 1 is `start` to `end` of the whole."""
    return lambda fraction: report(stage, start + (end - start) * fraction)
