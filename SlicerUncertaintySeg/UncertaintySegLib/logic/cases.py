"""Which case is worked on: the next one by a strategy, the one before, or any one by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.inference import unasked
from UncertaintySegLib.logic.leases import lease_arguments
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.worklist import LABELLED, is_to_review
from UncertaintySegLib.server.replies import CaseRow, Sample, parse_case, parse_sample


def _always() -> bool:
    return True


class Cases:
    """Takes cases from the server.

    Args:
        session: What all sections share.
        may_leave: Asked before a case with edits that were not submitted, which stay as a draft, is left; False stays
            with it.

    Attributes:
        rows: All cases of the server, as it last said.
        not_served: Why files of its studies are no cases, by name.
        seen: Cases that were open.
    """

    def __init__(self, session: Session, may_leave: Callable[[], bool] = _always) -> None:
        self.session = session
        self.may_leave = may_leave
        self.rows: list[CaseRow] = []
        self.not_served: dict[str, str] = {}
        self._history: list[str] = []
        self._place = -1
        self.seen: set[str] = set()
        self._expected = ("", 0)
        self._awaited = self._outdated = False

    @property
    def labelled(self) -> int:
        """How many cases have a final label."""
        return sum(case.status == LABELLED for case in self.rows)

    def needs_scores(self, strategy: str) -> bool:
        """Return whether a strategy ranks by scores and no case without a label has one yet."""
        info, left = self.session.state.info, [case for case in self.rows if case.status != LABELLED]
        ranks = info is not None and strategy in info.ranking
        return ranks and bool(left) and all(case.score is None for case in left)

    @property
    def can_go_back(self) -> bool:
        """Whether a case was open before this one."""
        return self._place > 0

    def next(self, strategy: str, *, skip: bool = False) -> None:
        """Open another case, the one that a strategy chooses; with `skip`, pass over the present one from now on.

        Cases that were open already come when there is no other.
        """
        if self._may_start():
            self._ask_next(strategy, skip, self.seen)

    def expect(self, strategy: str, seed: int | None) -> None:
        """Have the strategy draw next as it has drawn already, so that it serves what was prefetched."""
        self._expected = (strategy, seed) if seed is not None else ("", 0)

    def next_label(self, shown: Sequence[CaseRow]) -> None:
        """Open the next case whose label is yet to be reviewed: of those shown in a table, or else of all.

        It comes behind the present case, or else from the top.
        """
        sample = self.session.state.sample
        present = sample.id if sample is not None else ""
        for rows in (shown, self.rows):
            place = next((number for number, row in enumerate(rows) if row.id == present), -1)
            waiting = [row.id for row in [*rows[place + 1 :], *rows[: place + 1]] if is_to_review(row)]
            if found := next((image for image in waiting if image != present), None):
                self.open(found)
                return
        self.session.say(_("No other label waits to be reviewed."))

    def previous(self) -> None:
        """Go back to the case that was open before this one."""
        if self.can_go_back:
            self._ask(self._history[self._place - 1], lambda: self._step(-1))

    def open(self, image: str) -> None:
        """Open a case by its name, and lease it."""
        self._ask(image, lambda: self.remember(image))

    def score(self, model: str) -> None:
        """Score the cases without a label, so that a strategy can rank them."""

        def done(answer: dict[str, Any]) -> None:
            count = len(answer["scores"])
            text = _("1 case is scored by {model}.") if count == 1 else _("{count} cases are scored by {model}.")
            self.session.say(text.format(count=count, model=model))
            self.list()

        if not self.session.busy:
            stage = _("Scoring the cases with {model}").format(model=model)
            self.session.ask("score", {"model": model}, done, stage=stage)

    def list(self) -> None:
        """Ask for the table of all cases, beside whatever runs."""
        if self.session.state.info is None:
            return
        if self._awaited:
            self._outdated = True  # so that the last question is the one whose answer stays
            return
        self._awaited, self._outdated = True, False
        arguments: dict[str, Any] = {"client_id": self.session.client_id}
        if self.session.state.model:
            arguments["model"] = self.session.state.model
        self.session.ask("cases", arguments, self._show_rows, quiet=True, failed=self._keep_rows)

    def forget(self) -> None:
        """Forget what a server said, for it is another one now."""
        self.rows = []
        self._history, self._place = [], -1
        self.seen.clear()

    def remember(self, image: str) -> None:
        """Note which case is open now, so that `previous` finds back to it and `next` goes on."""
        self.seen.add(image)
        if self._history[self._place : self._place + 1] != [image]:
            self._history[self._place + 1 :] = [image]
            self._place += 1

    def _may_start(self) -> bool:
        if self.session.busy:
            return False
        return not self.session.scene.edited or self.may_leave()

    def _ask(self, image: str, opened: Callable[[], None]) -> None:
        def done(answer: dict[str, Any]) -> None:
            row = parse_case({"id": image, "status": "", **(answer.get("row") or {})})
            sample = Sample(image, row.score, row.reason, axis=row.axis)
            label = Path(answer["label"]) if answer.get("label") else None
            self.session.open_case(sample, Path(answer["scan"]), label)
            opened()
            has_label = _("{case} has a label already: run a model on it to see where the label may be wrong.")
            self.session.say((has_label if label else _("{case} opened.")).format(case=image))
            self._begin()

        if self._may_start():
            arguments = {"image": image, **lease_arguments(self.session)}
            self.session.ask("open_case", arguments, done, stage=_("Opening {case}").format(case=image))

    def next_params(self, exclude: Iterable[str]) -> dict[str, Any]:
        """Return how the server is asked for the next case, as requests take it; cases in `exclude` are not served."""
        params: dict[str, Any] = {**lease_arguments(self.session), "exclude": sorted(exclude)}
        if self.session.state.model:
            params["model"] = self.session.state.model
        return params

    def _ask_next(self, strategy: str, skip: bool, exclude: set[str]) -> None:
        session, sample = self.session, self.session.state.sample
        present = set() if sample is None else {sample.id}
        params = self.next_params(exclude | present)
        if skip:
            params["skip"] = sorted(present)
        elif strategy == self._expected[0]:
            params["seed"] = self._expected[1]
        self._expected = ("", 0)

        def done(answer: dict[str, Any]) -> None:
            served = answer["sample"].get("id")
            if served in list(present):  # what a strange server sends may have no hash
                text = _("The server offers {case} again: choose another one from the table.")
                session.say(text.format(case=served))
            elif served:
                self._open_next(answer)
            elif exclude:
                self.seen.clear()
                self._ask_next(strategy, skip, set())
            else:
                reason = answer["sample"].get("reason") or _("every case has a label")
                session.say(_("Nothing is left to review: {reason}.").format(reason=reason))
                self.list()

        arguments = {"strategy": strategy, "params": params, "ahead": unasked(session)}
        session.ask("next_case", arguments, done, stage=_("Choosing the next case"))

    def _open_next(self, answer: dict[str, Any]) -> None:
        sample = parse_sample(answer["sample"])
        known = next((row.axis for row in self.rows if row.id == sample.id), "")
        sample = replace(sample, axis=sample.axis or known)
        self.session.open_case(sample, Path(answer["scan"]))
        self.remember(sample.id)
        self.session.say(_("{case} opened.").format(case=sample.id))
        self._begin()

    def _begin(self) -> None:
        """Go on with a case that was opened: where nobody has drawn on it yet, the model does."""
        state = self.session.state
        self.list()
        if state.has_draft or not state.info.may_work:
            return
        if state.label_waits:
            self.session.waiting_label_wanted.emit()
        elif settings.value("segmentByItself") and state.label is None:
            self.session.segment_wanted.emit()

    def _step(self, places: int) -> None:
        self._place += places

    def _show_rows(self, answer: dict[str, Any]) -> None:
        self.rows = [parse_case(row) for row in answer["cases"]]
        self.not_served = {str(name): str(reason) for name, reason in answer["not_served"].items()}
        self._end_list()
        self.session.changed.emit()

    def _keep_rows(self, _error: Exception) -> None:
        """A server without that route still has its strategies; one that is gone is the Server section's to tell."""
        self._end_list()

    def _end_list(self) -> None:
        self._awaited = False
        if self._outdated:
            self.list()
