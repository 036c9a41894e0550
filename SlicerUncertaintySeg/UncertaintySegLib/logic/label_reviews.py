"""What reviewers say of the label that the server has of the case, and every state that this label has had."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from slicer.i18n import tr as _

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.scene import navigation
from UncertaintySegLib.scene.navigation import RegionBox
from UncertaintySegLib.scene.other_label import OtherLabel
from UncertaintySegLib.server.label_replies import (
    APPROVED,
    FLAGGED,
    LabelReview,
    LabelVersion,
    Place,
    VersionComparison,
    parse_comparison,
    parse_versions,
)
from UncertaintySegLib.server.replies import Label

Agrees = Callable[[str], bool]


class LabelReviews:
    """Reviews the label of the open case, compares its versions and restores them.

    Args:
        session: Whose case it is.
        agrees: Asked before a version is restored.

    Attributes:
        versions: Of the final label, the newest first.
        comparison: Of a version with the one that counts; None while none is compared.
        changed: After a change of these.
    """

    def __init__(self, session: Session, agrees: Agrees) -> None:
        self.session, self._agrees = session, agrees
        self.versions: list[LabelVersion] = []
        self.comparison: VersionComparison | None = None
        self.other = OtherLabel(session.scene.scene)
        self.changed = Signal()
        self._box = RegionBox(session.scene.scene)
        session.case_opened.connect(self._begin)
        session.case_closed.connect(self.forget)
        session.cases_changed.connect(self.look)

    @property
    def current(self) -> LabelVersion | None:
        """The version that counts; None where the server has no label of the case."""
        return next((version for version in self.versions if version.counts), None)

    @property
    def review(self) -> LabelReview:
        """What was said of it."""
        current = self.current
        return current.review if current is not None and current.review is not None else LabelReview()

    @property
    def obstacle(self) -> str:
        """Why the label cannot be reviewed now; empty where it can."""
        if self.current is None:
            return _("The server has no label of this case yet.")
        if self.session.scene.edited:
            return _("The label on the server is what is reviewed: submit your edits or undo them first.")
        return ""

    def look(self) -> None:
        """Ask for the versions, beside whatever runs."""
        sample = self.session.state.sample
        if sample is None or self.session.state.info is None:
            return

        def done(answer: dict[str, Any]) -> None:
            if self.session.state.sample is sample:
                self._take(answer)

        def failed(_error: Exception) -> None:
            """A scan that is not the server's, or a server without versions, has none."""

        self.session.ask("label_versions", {"image": sample.id}, done, quiet=True, failed=failed)

    def say(self, status: str, level: str, comment: str, *, then_next: bool = False) -> None:
        """Keep a review of the label that counts.

        Args:
            status: One of `label_replies`.
            level: One of `label_replies.LEVELS`.
            comment: Any text.
            then_next: Go on to the next label that is to be reviewed.
        """
        session, current = self.session, self.current
        if session.busy:
            return
        if self.obstacle:
            session.fail(self.obstacle)
            return
        sample = session.state.sample

        def done(answer: dict[str, Any]) -> None:
            if session.state.sample is sample:
                self._take(answer)
            texts = {APPROVED: _("The label of {case} is approved."), FLAGGED: _("The label of {case} is flagged.")}
            session.say(texts.get(status, _("The label of {case} is to be reviewed.")).format(case=sample.id))
            session.cases_changed.emit()
            if then_next:
                session.next_label_wanted.emit()

        review = {"status": status, "level": level, "comment": comment, "version": current.id}
        review["approvedBy"] = session.client_id
        session.ask("review_label", {"image": sample.id, "review": review}, done, stage=_("Saving the verdict"))

    def compare(self, version: LabelVersion) -> None:
        """Show where a version differs from the one that counts, and its outlines over the scan."""
        session, current = self.session, self.current
        if session.busy or current is None or session.state.sample is None:
            return
        sample = session.state.sample

        def done(answer: dict[str, Any]) -> None:
            if session.state.sample is not sample:
                return
            self.comparison = parse_comparison(answer)
            self._box.hide()
            self.changed.emit()
            session.changed.emit()
            labels = [Label(row.id, row.name) for row in self.comparison.structures]
            self.other.show(Path(answer["label"]), labels, session.scene.scan)

        arguments = {"image": sample.id, "version": version.id, "to": current.id}
        session.ask("compare_versions", arguments, done, stage=_("Comparing"))

    def restore(self, version: LabelVersion) -> None:
        """Make a version count again, once whoever asks has agreed."""
        session, sample = self.session, self.session.state.sample
        if session.busy or sample is None or version.counts:
            return
        if session.scene.edited:
            session.fail(self.obstacle)
            return
        question = _(
            "Make version {number} of the label of {case}, saved by {name}, count again?\n\nIt becomes the newest "
            "version, which is to be reviewed. What counts now stays a version and can be restored in turn."
        )
        if not self._agrees(
            question.format(number=version.id, case=sample.id, name=version.made_by or _("nobody known"))
        ):
            return

        def done(answer: dict[str, Any]) -> None:
            session.say(_("Version {number} of {case} counts again.").format(number=version.id, case=sample.id))
            session.cases_changed.emit()
            if session.state.sample is sample:
                self._take(answer)
                session.reopen_wanted.emit()

        session.ask("restore_version", {"image": sample.id, "version": version.id}, done, stage=_("Restoring"))

    def go_to(self, place: Place) -> None:
        """Look at a place where two labels differ."""
        look_at_place(self.session, self._box, place)

    def show_other(self, visible: bool) -> None:
        """Show the outlines of the version that is compared, or hide them."""
        self.other.set_visible(visible)

    def forget(self) -> None:
        """Let go of the case."""
        self.versions, self.comparison = [], None
        self.other.clear()
        self._box.hide()
        self.changed.emit()

    def _begin(self) -> None:
        self.forget()
        self.look()

    def _take(self, answer: dict[str, Any]) -> None:
        before, self.versions = self.current, parse_versions(answer)[::-1]
        if before is not None and (self.current is None or self.current.id != before.id):
            self.comparison = None  # it was with what counted before
            self.other.clear()
        self.changed.emit()


def look_at_place(session: Session, box: RegionBox, place: Place) -> None:
    """Move the views to a place, and put the box around it."""
    scene = session.scene
    if scene.scan is None or scene.scan.GetScene() is None:
        return
    points = navigation.corners(scene.scan, place.bounding_box)
    box.show(scene.case, points)
    navigation.look_at(scene.scene, place.ras_mm, points)
