"""What reviewers say of the label on the server, its versions, and where several readers disagree."""

from __future__ import annotations

import time
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic.label_reviews import LabelReviews
from UncertaintySegLib.logic.readers import Readers
from UncertaintySegLib.logic.worklist import looked_at
from UncertaintySegLib.panel.places_table import PlacesTable
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.versions_box import VersionsBox
from UncertaintySegLib.panel.widgets import fill
from UncertaintySegLib.server.label_replies import APPROVED, FLAGGED, LEVELS, TO_REVIEW, LabelReview, LabelVersion


class ReviewSection(Section):
    """Approves or flags the label of the case."""

    name = "Review"
    title = _("Reviewer's verdict")
    collapsed = True

    def setup(self) -> None:
        """Connect the widgets."""
        ui, session = self.ui, self.session
        self.logic, self.readers = LabelReviews(session, slicer.util.confirmOkCancelDisplay), Readers(session)
        self.versions = VersionsBox(ui, self.logic)
        texts = (_("not said"), _("easy"), _("medium"), _("hard"))
        fill(ui.levelComboBox, dict(zip(LEVELS, texts)))
        self._shown: tuple[int | None, LabelReview] = (None, LabelReview())
        ui.approveButton.clicked.connect(lambda *_arguments: self.say(APPROVED))
        ui.flagButton.clicked.connect(lambda *_arguments: self.say(FLAGGED))
        ui.toDoButton.clicked.connect(lambda *_arguments: self.say(TO_REVIEW))
        ui.readersButton.clicked.connect(lambda *_arguments: self.readers.compare())
        kinds = {"border": _("border"), "missed": _("some drew more"), "extra": _("some drew less")}
        self._places = PlacesTable(ui.readersTable, kinds, self.readers.go_to)
        for part in (self.logic, self.readers):
            part.changed.connect(self.refresh)
        self.refresh()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {"approve": self.ui.approveButton.click, "flag": self.ui.flagButton.click}

    def say(self, status: str) -> None:
        """Keep a review; one that decides goes on to the next label, where that is wanted."""
        ui = self.ui
        level, comment = LEVELS[ui.levelComboBox.currentIndex], ui.commentLineEdit.text
        then_next = status != TO_REVIEW and bool(ui.nextCheckBox.checked)
        self.logic.say(status, level, comment, then_next=then_next)

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        ui, logic = self.ui, self.logic
        current, review, busy = logic.current, logic.review, self.session.busy
        if (shown := (current.id if current is not None else None, review)) != self._shown:
            self._shown = shown  # what somebody is writing stays until another label or review comes
            ui.levelComboBox.setCurrentIndex(LEVELS.index(review.level) if review.level in LEVELS else 0)
            ui.commentLineEdit.setText(review.comment)
        ui.statusLabel.setText("\n".join(filter(None, (_about_label(current), _about_review(current)))))
        ui.statusLabel.setToolTip(looked_at(current.looked_at) if current is not None else "")
        hint = logic.obstacle if self.session.state.sample is not None else _("No case is open.")
        ui.hintLabel.setText(hint)
        ui.hintLabel.setVisible(bool(hint))
        for button in (ui.approveButton, ui.flagButton):
            button.setEnabled(not hint and not busy)
        ui.toDoButton.setEnabled(not hint and not busy and review.status != TO_REVIEW)
        self.versions.refresh()
        ui.readersGroupBox.setVisible(current is not None)
        ui.readersButton.setEnabled(not busy)
        ui.readersLabel.setText(self.readers.text)
        ui.readersLabel.setVisible(bool(self.readers.text))
        self._places.show(self.readers.readings.regions if self.readers.readings is not None else ())


def _about_label(version: LabelVersion | None) -> str:
    if version is None:
        return ""
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(version.time))
    text = _("Label of {name}, saved {when}.").format(name=version.made_by or _("nobody known"), when=when)
    return f"{text} {looked_at(version.looked_at)}".strip()


def _about_review(version: LabelVersion | None) -> str:
    if version is None:
        return ""
    review = version.review or LabelReview()
    texts = {
        APPROVED: _("Approved by {name}, {when}."), FLAGGED: _("Flagged by {name}, {when}."),
        TO_REVIEW: _("To review; last said by {name}, {when}.") if review.edit_time else _("To review."),
    }  # fmt: skip
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(review.edit_time))
    name = review.approved_by or _("nobody known")
    name = name if review.verified or not review.edit_time else _("{name} (not logged in)").format(name=name)
    return texts.get(review.status, texts[TO_REVIEW]).format(name=name, when=when)
