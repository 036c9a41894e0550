"""What all sections of the panel share: the case, the result, the way to the server, the status line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from slicer.i18n import tr as _

from UncertaintySegLib.errors import Cancelled, SceneError, UncertaintySegError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.maps import Maps
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.state import Shown, State
from UncertaintySegLib.logic.undo import History
from UncertaintySegLib.scene import segments
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import Label, Model, Sample
from UncertaintySegLib.server.results import InferResult
from UncertaintySegLib.server.sizes import ML
from UncertaintySegLib.server.worker_client import WorkerClient

_logger = logging.getLogger(__name__)

Done = Callable[[Any], None]
Failed = Callable[[Exception], None]
Progress = Callable[[str, float, "float | None"], None]


class Session:
    """The one case that somebody works on, and the server it comes from.

    Asking the server returns at once; a timer must call `pump` now and then. Errors end in the status line, never in
    an exception that reaches the user.

    Args:
        scene: Where to show the case.
        worker: Asks the server.
        folder: Where downloads and drafts are kept.

    Attributes:
        url, token: Of the server.
        changed: After every change of `state`.
        case_leaving: Before the case goes, or gives way to another; what is drawn is still there.
        case_opened: After a scan was shown.
        result_changed: After a result was shown.
        case_closed: After the case is gone.
        cases_changed: The server's list of cases is no longer what it was: a label was sent, a lease has ended.
        submitted: A label was sent, or is kept until it can be: `state.submitted`.
        next_wanted: Somebody wants the next case.
        next_label_wanted: Somebody wants the next case whose label is to be reviewed.
        reopen_wanted: The case is to be opened again, for the server has another label of it.
        segment_wanted: A case of the server was opened that has no label yet: the chosen model is to run on it.
        blank_wanted: An empty label of the chosen model's structures is to be drawn on.
        examples_wanted: What was corrected is to be sent, and the chosen model to run with these slices as examples.
        waiting_label_wanted: A case was opened whose label waits here to be sent: it is to be shown.
        label_restored: A label that was kept here is drawn again; the state is what it was then.
        threshold_rested: The slider that moves `state.review_threshold` has come to rest.
        structure_chosen: `state.structure` is another one.
        review_wanted: What is expected to be wrong is out of date: somebody drew, or found a region right.
        history: What can be undone.
        maps: Brings the maps of the result into the scene.
    """

    def __init__(self, scene: CaseScene, worker: WorkerClient, folder: Path) -> None:
        self.scene = scene
        self.worker = worker
        self.folder = folder
        self.state = State()
        self.url, self.token = "", ""
        self.changed, self.case_opened, self.result_changed, self.case_closed = (Signal() for _number in range(4))
        self.cases_changed, self.submitted, self.next_wanted = Signal(), Signal(), Signal()
        self.segment_wanted, self.waiting_label_wanted, self.label_restored = Signal(), Signal(), Signal()
        self.next_label_wanted, self.reopen_wanted = Signal(), Signal()
        self.case_leaving, self.threshold_rested, self.review_wanted = Signal(), Signal(), Signal()
        self.structure_chosen, self.blank_wanted, self.examples_wanted = Signal(), Signal(), Signal()
        self.history = History(self.state, self.show_again, self.fail)
        self.maps = Maps(self.state, scene, self.ask, self.fail)
        for signal in (self.result_changed, self.case_opened, self.case_closed):
            signal.connect(self.maps.forget)
        self.maps.changed.connect(self.changed.emit)
        self._ticket: int | None = None

    @property
    def busy(self) -> bool:
        """Whether something runs that `cancel` can stop."""
        return self._ticket is not None

    @property
    def client_id(self) -> str:
        """Who asks, where the server does not know it from a token."""
        return settings.value("clientId")

    @property
    def obstacle(self) -> str:
        """Why the case can be looked at, but not be worked on; empty where it can."""
        text = _("The transform {name} moves the scan or its segmentation: take it off first.")
        return text.format(name=self.scene.moved_by) if self.scene.moved_by else ""

    def ask(
        self,
        name: str,
        arguments: Mapping[str, Any],
        done: Done,
        *,
        stage: str = "",
        quiet: bool = False,
        failed: Failed | None = None,
        progress: Progress | None = None,
    ) -> int:
        """Have a request done.

        Args:
            name: Of a function in `server.requests`.
            arguments: Its arguments; the server and the folder are added.
            done: Gets the answer. An `UncertaintySegError` from it goes to the status line.
            stage: What the progress bar says until the request says more.
            quiet: Beside whatever else runs, and without the progress bar.
            failed: Gets the error instead of the status line.
            progress: Gets the stage, the fraction (0 to 1) and the seconds left, instead of the progress bar.

        Raises:
            RuntimeError: Another request that is not quiet still runs.
        """
        if not quiet and self.busy:
            raise RuntimeError("One request at a time: the one before has not ended.")
        wanted = {
            "server": {"url": self.url, "token": self.token},
            "folder": str(self.folder),
            **arguments,
        }

        def succeed(answer: Any) -> None:
            self._end(quiet)
            try:
                done(answer)
            except Exception as error:  # noqa: BLE001 - of a bug or a strange answer, say so; nobody sees a traceback
                (failed or self.fail)(error)

        def give_up(error: Exception) -> None:
            self._end(quiet)
            (failed or self.fail)(error)

        progress = progress or (None if quiet else self._show_progress)
        ticket = self.worker.call(name, wanted, done=succeed, failed=give_up, progress=progress)
        if not quiet:
            self._ticket = ticket
            self.state.fraction, self.state.stage, self.state.eta_s = 0.0, stage, None
            self.state.message, self.state.is_error = "", False
            self.changed.emit()
        return ticket

    def cancel(self) -> None:
        """Stop what runs, on the server too."""
        if self._ticket is not None:
            self.worker.cancel(self._ticket)

    def pump(self) -> None:
        """Handle what has come since the last call."""
        self.worker.pump()

    def close(self) -> None:
        """Let everything go."""
        self.worker.close()

    def say(self, message: str) -> None:
        """Put a sentence on the status line."""
        self.state.message, self.state.is_error = message, False
        self.changed.emit()

    def fail(self, error: Exception | str) -> None:
        """Put an error on the status line."""
        if isinstance(error, Cancelled):
            self.say(_("Cancelled."))
            return
        expected = isinstance(error, (UncertaintySegError, str))
        text = _("Unexpected error: {error}. The log has the details.").format(error=error)
        self.state.message, self.state.is_error = str(error) if expected else text, True
        _logger.error("%s", error, exc_info=None if expected else error)
        self.changed.emit()

    def choose_structure(self, label_id: int) -> None:
        """Correct this structure from now on, with tools and clicks; 0 is background."""
        self.state.structure = label_id
        self.structure_chosen.emit()

    def undo(self) -> None:
        """Take the last step back, and say which it was."""
        what = self.history.undo()
        if what:
            self.say(_("Undone: {what}.").format(what=what))

    def redo(self) -> None:
        """Do again what was undone last, and say what it was."""
        what = self.history.redo()
        if what:
            self.say(_("Done again: {what}.").format(what=what))

    def open_case(self, sample: Sample, scan: Path, label: Path | None = None) -> None:
        """Show a scan in place of the case before.

        Args:
            sample: The case.
            scan: File of its scan.
            label: File of the label that the server has of it.

        Raises:
            SceneError: The file is no image; the case before then stays.
        """
        self.scene.show_scan(sample.id, scan, self.case_leaving.emit, sample.axis)
        self.enter_case(sample, label)

    def enter_case(self, sample: Sample, label: Path | None = None) -> None:
        """Make the scan in the scene, however it came there, the case that is worked on."""
        state = self.state
        state.sample, state.result, state.base, state.opened = sample, None, None, time.monotonic()
        state.model_result = state.model_label = state.blank = None
        state.trusted, state.size_unit = "edits", ML
        state.label, state.decisions, state.corrections, state.reader_maps = label, (), {}, {}
        state.seen, state.seconds_active, state.seconds_counted, state.error_before_ml = [], 0.0, 0.0, None
        self.history.clear()
        self.case_opened.emit()
        self.changed.emit()

    def show_result(
        self,
        result: InferResult,
        label: Path | None,
        maps: Mapping[str, Path],
        *,
        base: InferResult | None = None,
        drawn: np.ndarray | None = None,
        kept: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        """Show what came of an inference, a correction or a review.

        Args:
            result: What is known of it.
            label: Its label: it replaces what is drawn. None leaves the segments as they are.
            maps: Files of the maps that were fetched; others are fetched when somebody wants to see them.
            base: The inference that the result goes back to; None when it is one itself.
            drawn: What to draw in place of `label`: the same with what was drawn by hand, as `scene.label_ids` has it.
            kept: Makes of the label of an inference the one to draw, both as `scene.label_ids` has it.

        Raises:
            SceneError: A file is not what it should be, or the scan is gone. All else is shown where only the file of
                a map is not.
        """
        if self.state.sample is None:
            raise SceneError(_("There is no case any more: take one again."))
        if label is not None and base is None:
            self.scene.show_segmentation(label, _colored(result.labels), result.provenance)
            self.state.blank = None
            if kept is not None:
                self.scene.draw(kept(self.scene.label_ids()))
        elif label is not None:
            self.scene.redraw(label) if drawn is None else self.scene.draw(drawn)
        broken = self._show_maps(result, maps)
        self.scene.set_axis(result.axis)
        state = self.state
        if state.base is not base or base is None:
            state.model_result, state.model_label = base or result, label
            state.trusted = "none" if label is None else "edits"
            state.decisions, state.corrections = (), {}
            self.history.clear()
        elif label is not None:
            state.model_result, state.model_label = result, label
        state.result, state.base, state.size_unit = result, base or result, result.size_unit
        self.result_changed.emit()
        self.changed.emit()
        if broken is not None:
            raise broken

    @property
    def label_model(self) -> Model | None:
        """The model whose structures are drawn; None where the server has none such."""
        state = self.state
        name = state.base.provenance.get("model") if state.base is not None else state.blank and state.blank.name
        return state.info.models.get(name) if state.info is not None else None

    def show_blank(self, model: Model) -> None:
        """Show an empty label of a model's structures, to be drawn on.

        Raises:
            SceneError: The scan is gone, or the file of the label cannot be written.
        """
        file, state, scan = self.folder / "uploads" / "blank.nii", self.state, self.scene.scan
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        segments.write_ids(np.zeros(scan.GetImageData().GetDimensions()[::-1], np.uint8), scan, file)
        self.scene.show_segmentation(file, _colored(model.labels), {"model": model.name})
        state.result = state.base = state.model_result = state.model_label = None
        state.blank, state.trusted, state.decisions, state.corrections = model, "none", (), {}
        self.history.clear()
        self.label_restored.emit()
        self.say(_("Draw in a few slices, then use them as examples."))

    def show_again(self, shown: Shown) -> None:
        """Show a result that was shown before, from files; the segments stay as they are.

        A draft that was restored has no result until the server has looked at it: what is known stays then.

        Raises:
            SceneError: The file of a map is no image any more.
        """
        if shown.result is None or shown == self.state.shown:
            return
        self.scene.show_result_maps(shown.result, self.scene.files_of(shown.result))
        for name, value in shown._asdict().items():
            setattr(self.state, name, value)
        self.result_changed.emit()
        self.changed.emit()

    def close_case(self) -> None:
        """Forget the case, whose nodes are gone or go now."""
        self.case_leaving.emit()
        self.scene.clear()
        self.state.sample = self.state.result = self.state.base = self.state.label = None
        self.state.model_result = self.state.model_label = None
        self.state.decisions, self.state.reader_maps = (), {}
        self.history.clear()
        self.case_closed.emit()
        self.changed.emit()

    def _show_maps(self, result: InferResult, maps: Mapping[str, Path]) -> SceneError | None:
        """Show what maps can be shown; a broken one is an error, but none that costs the label."""
        try:
            self.scene.show_result_maps(result, maps)
        except SceneError as error:
            self.scene.show_result_maps(result, {})
            return error
        return None

    def _end(self, quiet: bool) -> None:
        if not quiet:
            self._ticket, self.state.fraction = None, None

    def _show_progress(self, stage: str, fraction: float, eta_s: float | None) -> None:
        self.state.stage, self.state.fraction, self.state.eta_s = stage or self.state.stage, fraction, eta_s
        self.changed.emit()


def _colored(labels: Sequence[Label]) -> list[Label]:
    """Return the labels with the model's own colours where these are wanted: not everybody can tell them apart."""
    return list(labels) if settings.value("modelColors") else [replace(label, rgb=None) for label in labels]
