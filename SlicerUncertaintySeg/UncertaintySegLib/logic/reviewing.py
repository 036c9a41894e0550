"""After an edit the server says what it thinks of the label as it now is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.errors import Cancelled, SceneError, ServerError
from UncertaintySegLib.logic import shown_slices, sizes
from UncertaintySegLib.logic.editing import Editing
from UncertaintySegLib.logic.losses import REMOVED
from UncertaintySegLib.logic.safekeeping import Safekeeping
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.replies import RISK
from UncertaintySegLib.server.results import InferResult, Structure, parse_result

ANOMALY = "anomaly"
_OWN_MAPS = (RISK, ANOMALY)
_NOT_KNOWN = dict.fromkeys(
    ("volume_ml_95", "mean_risk", "expected_dice", "expected_error_ml", "excess_error_ml", "anomaly_score")
)


class Reviewing:
    """Has the label reviewed; only the newest answer counts, and nobody waits for it.

    Args:
        session: Whose result becomes that of the review.
        editing: Knows what is drawn.
        safekeeping: Has it on disk.

    Attributes:
        text: How things stand, in a sentence; empty before the first edit.
        is_due: Whether the label that is drawn has no review, for the server did not answer.
        changed: After a change of these.
    """

    def __init__(self, session: Session, editing: Editing, safekeeping: Safekeeping) -> None:
        self.session, self.editing, self.safekeeping = session, editing, safekeeping
        self.text, self.is_due = "", False
        self.changed = Signal()
        self._ticket: int | None = None
        session.case_opened.connect(self.forget)
        session.case_closed.connect(self.forget)
        session.history.restored.connect(self.cancel)

    def review(self) -> None:
        """Save the label and ask for its review; what was asked before does not matter any more."""
        result = self.session.state.result
        if result is None or not self.editing.is_possible:
            return
        try:
            file = self.safekeeping.label_file()
        except SceneError as error:
            self.session.fail(error)
            return
        self.cancel()
        self._ask(file, result.key)

    def recall(self, key: str) -> None:
        """Ask what a result, of which only the key is known, says of the label: after a restart."""
        try:
            file = self.safekeeping.label_file()
        except SceneError as error:
            self.session.fail(error)
            return
        if file is not None and key:
            self._ask(file, key)

    def cancel(self) -> None:
        """Forget the review that is on its way."""
        if self._ticket is not None:
            self.session.worker.cancel(self._ticket)
            self._ticket = None

    def forget(self) -> None:
        """Let go of the case."""
        self.cancel()
        self._say("")

    def _ask(self, file: Path, key: str) -> None:
        scene = self.session.scene
        wanted = [name for name in _OWN_MAPS if name in scene.maps or name == scene.wanted]
        arguments = {"result": key, "file": str(file), "params": self._params(), "maps": wanted}
        ticket: int | None = None

        def done(answer: dict[str, Any]) -> None:
            if ticket == self._ticket:
                self._ticket = None
                self._show(parse_result(answer["result"]), answer["maps"], key)

        def failed(error: Exception) -> None:
            if ticket == self._ticket and not isinstance(error, Cancelled):
                self._ticket = None
                self._count(error)

        ticket = self.session.ask("review", arguments, done, quiet=True, failed=failed)
        self._ticket = ticket
        self._say(_("Estimating the risk of what you drew..."))

    def _show(self, result: InferResult, maps: dict[str, str], key: str) -> None:
        state = self.session.state
        if state.base is None:
            state.base = replace(result, key=key)
        self.editing.keep_label(result, {name: Path(path) for name, path in maps.items()})
        left = result.remaining_error_ml
        text = _("Risk estimated: {left:.2f} {unit} are still expected to be wrong.")
        unit = sizes.shown(result.size_unit)
        self._say(_("Risk estimated.") if left is None else text.format(left=left, unit=unit))

    def _count(self, error: Exception) -> None:
        """Show what is known without the server: the sizes."""
        state = self.session.state
        unreachable = isinstance(error, ServerError) and error.status is None
        if state.result is not None and self.editing.is_possible:
            rows = tuple(self._row(row) for row in state.result.structures)
            self.editing.keep_label(replace(state.result, structures=rows, remaining_error_ml=None, frames=None), {})
        text = _("Risk not estimated: {error} The {size}s are counted here.")
        text = text.format(error=error, size=sizes.kind(state.size_unit))
        self._say(text, is_due=unreachable)

    def _row(self, row: Structure) -> Structure:
        volume = self.editing.structure_ml(row.id)
        return replace(
            row, volume_ml=volume, interval_method="", dice_method=None, flag=_("Risk not estimated"), **_NOT_KNOWN
        )

    def _params(self) -> dict[str, Any]:
        """Of a label that came from elsewhere only what was drawn here is trusted, of the model's all edits are.

        But a structure that was removed may be missing: the server sees that for itself where all edits are trusted.
        """
        session, result = self.session, self.session.state.result
        trusted = (result.provenance.get("params") or {}).get("trusted") if result is not None else None
        trusted = trusted or session.state.trusted
        steps = [step for step in session.history.done if step.box] if trusted == "none" else []
        removed = {loss.label_id for loss in self.editing.losses(REMOVED)} if steps else set()
        drawn = [step.box for step in steps if not removed & step.taken_from]
        return {"trusted": trusted, "accepted": [*session.state.accepted, *shown_slices.boxes(session), *drawn]}

    def _say(self, text: str, *, is_due: bool = False) -> None:
        self.text, self.is_due = text, is_due
        self.changed.emit()
