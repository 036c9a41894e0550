"""Slicer's Segment Editor, set up for the case; drafts; and the label on its way to the server."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import UncertaintySegError
from UncertaintySegLib.logic import losses, settings, sizes
from UncertaintySegLib.logic.attention import Attention
from UncertaintySegLib.logic.drafts import Draft, Drafts, default_folder
from UncertaintySegLib.logic.editing import Editing
from UncertaintySegLib.logic.reviewing import Reviewing
from UncertaintySegLib.logic.safekeeping import Safekeeping
from UncertaintySegLib.logic.submission import Submission
from UncertaintySegLib.panel import segment_editor, text_colors
from UncertaintySegLib.panel.history_buttons import HistoryButtons
from UncertaintySegLib.panel.palette import Palette
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.tools import Tools
from UncertaintySegLib.panel.widgets import name_keys, timer
from UncertaintySegLib.scene.segments import Structure, structures

_STROKE_MILLISECONDS = 0  # as soon as the effect has done all that it does
_REVIEW_MILLISECONDS = 1000
_LOOK_MILLISECONDS = 500
_RETRY_MILLISECONDS = 10_000


class EditSection(Section):
    """Correct the segmentation and send it."""

    name = "Edit"
    title = _("Edit and submit")

    def setup(self) -> None:
        session, ui = self.session, self.ui
        self.editing = Editing(session)
        self.safekeeping = Safekeeping(session, self.editing, Drafts(default_folder()))
        self.reviewing = Reviewing(session, self.editing, self.safekeeping)
        self.attention = Attention(session)
        self.submission = Submission(session, self.editing, self.safekeeping, self.attention)
        self.editor = segment_editor.create(session.scene.scene)
        ui.editorPlace.layout().addWidget(self.editor)
        self.tools = Tools(self.editor, lambda: self.editing.is_possible)
        self.palette = Palette(self.on_structure)

        self._stroke = timer(_STROKE_MILLISECONDS, self.editing.settle)
        self._review = timer(_REVIEW_MILLISECONDS, self.reviewing.review)
        self._retry = timer(_RETRY_MILLISECONDS, self.on_retry, repeat=True)
        self._autosave = timer(1000 * settings.value("autosaveSeconds"), self.on_autosave, repeat=True)
        self._look = timer(_LOOK_MILLISECONDS, self.on_look, repeat=True)
        self._look.start()
        self._retry.start()
        self._autosave.start()

        text_colors.style(ui.waitingLabel, text_colors.WARNING)
        ui.insideRiskCheckBox.setChecked(self.editing.confined)
        ui.insideRiskCheckBox.toggled.connect(self.on_confined)
        self._history_buttons = HistoryButtons(ui.undoButton, ui.redoButton, session)
        ui.restoreButton.clicked.connect(self.on_restore)
        ui.discardButton.clicked.connect(self.on_discard)
        ui.submitButton.clicked.connect(self.on_submit)
        ui.submitNextButton.clicked.connect(self.on_submit_and_next)

        self.editing.touched.connect(self._stroke.start)
        self.editing.edited.connect(session.review_wanted.emit)
        session.review_wanted.connect(self._review.start)
        for signal in (session.case_opened, session.case_closed):
            signal.connect(self._review.stop)  # it was due for the case before, and would make a draft of this one
        session.result_changed.connect(self.on_result)
        session.case_opened.connect(self.show_drafts)
        session.case_opened.connect(lambda: ui.finishedOnlyCheckBox.setChecked(False))
        session.waiting_label_wanted.connect(lambda: self._restore(self.safekeeping.waiting()))
        session.blank_wanted.connect(self.on_blank)
        session.examples_wanted.connect(self.on_examples)
        session.case_closed.connect(self.on_case_closed)
        for part in (self.editing, self.reviewing, self.submission, session.history):
            part.changed.connect(self.refresh)
        scene = session.scene.scene
        self._observations = [
            scene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self.on_scene_closing),
            scene.AddObserver(slicer.vtkMRMLScene.NodeRemovedEvent, self.on_node_removed),
        ]
        self._draft, self._server = None, None
        name_keys({"submit": ui.submitNextButton})
        self.show_drafts()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {
            "submit": self.ui.submitNextButton.click,
            "structure": self.on_choose_structure,
            **self.tools.actions(),
        }

    def enter(self) -> None:
        """Let the effects hear the mouse."""
        self.editor.setupViewObservations()

    def exit(self) -> None:
        """Leave the mouse to the other module."""
        self.editor.setActiveEffect(None)
        self.editor.removeViewObservations()

    def close(self) -> None:
        """Save what is drawn, and let go."""
        for each in (self._stroke, self._review, self._retry, self._autosave, self._look):
            each.stop()
        self.safekeeping.put_away()
        for observation in self._observations:
            self.session.scene.scene.RemoveObserver(observation)
        segment_editor.release(self.editor)
        self.tools.close()
        self.palette.close()
        self.editor.setMRMLSegmentEditorNode(None)

    def on_scene_closing(self, _caller, _event) -> None:
        """Save what is drawn while it is still there."""
        self.safekeeping.put_away()
        segment_editor.release(self.editor)

    def on_node_removed(self, caller, _event) -> None:
        """Keep what was drawn where somebody has deleted the segmentation or its scan."""
        if caller.IsClosing() or not self.editing.is_lost:
            return
        segment_editor.release(self.editor)
        self.safekeeping.put_away()
        self.editing.forget()
        self.show_drafts()
        lost = _("The segmentation or its scan is no longer in the scene: run the model again.")
        kept = _("The segmentation or its scan is no longer in the scene. What you drew is kept as a draft.")
        self.session.fail(lost if self._draft is None else kept)

    def on_result(self) -> None:
        """Give the editor the segmentation, where it is another one."""
        scene = self.session.scene
        segment_editor.show(self.editor, scene.segmentation, scene.scan)
        self.tools.watch()

    def on_choose_structure(self) -> None:
        """Offer the structures of the case."""
        if self.editing.is_possible:
            background = Structure("", 0, _("background"), None)
            choices = [*structures(self.session.scene.segmentation), background]
            self.palette.open(choices, self.editor.currentSegmentID())
        else:
            self.session.say(self._why_not())

    def on_structure(self, structure: Structure) -> None:
        """Edit this structure from now on; background is for clicks alone."""
        self.session.choose_structure(structure.label_id)
        if not structure.label_id:
            self.session.say(_("Clicks say background now."))
            return
        self.editor.setCurrentSegmentID(structure.segment_id)
        self.session.say(_("Tools and clicks are for {structure} now.").format(structure=structure.name))

    def on_case_closed(self) -> None:
        """Take the tools away."""
        segment_editor.release(self.editor)
        self.show_drafts()

    def on_confined(self, confined: bool) -> None:
        """Follow the check box; it is remembered."""
        settings.remember("editInsideRisk", bool(confined))
        self.editing.set_confined(bool(confined))

    def on_restore(self, *_arguments) -> None:
        """Go on with a draft."""
        self._restore(self._draft)

    def on_discard(self, *_arguments) -> None:
        """Remove a draft, for good."""
        question = _("Discard the draft of {case} from {time} for good?")
        if slicer.util.confirmOkCancelDisplay(question.format(case=self._draft.case, time=self._draft.time)):
            self.safekeeping.discard(self._draft)
            self.show_drafts()

    def on_submit(self, *_arguments) -> None:
        """Send the label."""
        self._submit(then_next=False)

    def on_submit_and_next(self, *_arguments) -> None:
        """Send the label and go on."""
        self._submit(then_next=True)

    def on_blank(self) -> None:
        """Draw on an empty label with the structures of the chosen model."""
        try:
            self.session.show_blank(self.session.state.info.models[self.session.state.model])
        except (UncertaintySegError, OSError) as error:
            self.session.fail(str(error))
            return
        self.editing.follow()
        self.on_result()
        self.refresh()

    def on_examples(self) -> None:
        """Send the slices that were corrected; the chosen model then runs with them as examples."""
        self.editing.settle()
        if not self.editing.is_possible:
            self.session.say(self._why_not())
        elif self._may_send():
            self.submission.submit(then_run=True, finished_only=True)

    def on_autosave(self) -> None:
        """Save what is drawn; how often may have been changed meanwhile."""
        self.safekeeping.autosave()
        self._autosave.setInterval(1000 * settings.value("autosaveSeconds"))

    def on_look(self) -> None:
        """Note which regions the views show, and say how many nobody has looked at."""
        self.attention.tick()
        self._show_looked_at()

    def on_retry(self) -> None:
        """Ask the server again for what it did not answer."""
        self.submission.resend()
        if self.reviewing.is_due:
            self.reviewing.review()

    def show_drafts(self) -> None:
        """Offer the newest draft of the case, or say which cases have one."""
        ui, case = self.ui, self.session.scene.case
        found = self.safekeeping.found() if self.session.state.info is not None else []
        self._draft = found[0] if found and case else None
        self.session.state.has_draft = self._draft is not None
        self.session.state.label_waits = self.safekeeping.waiting() is not None
        ui.draftFrame.setVisible(bool(found))
        ui.restoreButton.setVisible(self._draft is not None)
        ui.discardButton.setVisible(self._draft is not None)
        if self._draft is not None:
            text = _("An unsent draft of {case} from {time} is here.")
            ui.draftLabel.setText(text.format(case=case, time=self._draft.time))
        elif found:
            names = ", ".join(dict.fromkeys(draft.case for draft in found))
            ui.draftLabel.setText(_("Unsent drafts are here of: {cases}. Open one to restore it.").format(cases=names))

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        ui, session = self.ui, self.session
        connected = (session.url, session.state.info is not None)
        if connected != self._server:
            self._server = connected
            self.show_drafts()
            self.submission.look()
        possible = self.editing.is_possible
        self.button.setVisible(not session.state.read_only)
        ui.tools.setVisible(possible)
        ui.emptyLabel.setVisible(not possible)
        ui.emptyLabel.setText(self._why_not())
        ui.uncertainLabel.setText(self._uncertain_text())
        ui.reviewLabel.setText(self.reviewing.text)
        ui.reviewLabel.setVisible(bool(self.reviewing.text))
        self._history_buttons.refresh()
        for button in (ui.submitButton, ui.submitNextButton):
            button.setEnabled(possible and not session.busy and session.state.info is not None)
        self._show_looked_at()
        self._show_sending()

    def _restore(self, draft: Draft) -> None:
        try:
            self.safekeeping.restore(draft)
        except UncertaintySegError as error:
            self.session.fail(error)
            return
        self.on_result()
        self.reviewing.recall(draft.result)
        self.show_drafts()

    def _show_looked_at(self) -> None:
        text, label = self.attention.text, self.ui.lookedAtLabel
        if label.text != text:
            label.setText(text)
        label.setVisible(bool(text))

    def _show_sending(self) -> None:
        ui, refit = self.ui, self.submission.refit
        count = self.submission.waiting
        one, more = _("1 label waits to be sent."), _("{count} labels wait to be sent.").format(count=count)
        ui.waitingLabel.setText(one if count == 1 else more)
        ui.waitingLabel.setVisible(count > 0)
        ui.refitLabel.setText(refit.text)
        ui.refitLabel.setVisible(bool(refit.text))
        ui.refitProgressBar.setVisible(refit.fraction is not None)
        ui.refitProgressBar.setValue(round(100 * (refit.fraction or 0.0)))

    def _submit(self, *, then_next: bool) -> None:
        self.editing.settle()
        if self.editing.is_possible and not self._may_send():
            return
        self.submission.submit(then_next=then_next, finished_only=self.ui.finishedOnlyCheckBox.checked)

    def _may_send(self) -> bool:
        """Ask once for all structures that lost most of their volume, or where nothing is drawn at all."""
        case, lost = self.session.scene.case, self.editing.losses(losses.ASKED)
        if lost:
            return slicer.util.confirmYesNoDisplay(losses.question(case, lost, self.session.state.size_unit))
        empty = _("All segments of {case} are empty. Send an empty label? (Y: yes, N or Esc: no)")
        return self.editing.ids.any() or slicer.util.confirmYesNoDisplay(empty.format(case=case))

    def _why_not(self) -> str:
        session, state, scene = self.session, self.session.state, self.session.scene
        if state.sample is None:
            return _("Open a case first.")
        if session.obstacle:
            return session.obstacle
        if state.result is not None and scene.scan is not None:
            return _("The segmentation or its scan is no longer in the scene: run the model again.")
        return _("Run a model first: then you can correct its segmentation here.")

    def _uncertain_text(self) -> str:
        editing = self.editing
        if not editing.confined:
            return _("The tools may change everything.")
        if editing.uncertain_ml is None:
            return _("There is no risk map to confine the tools: they may change everything.")
        if not editing.uncertain_ml:
            return _("Nothing is above the threshold, so nothing may be changed: lower it, or edit everywhere.")
        text = _("The tools may change {size:.2f} {unit}, {share:.1%} of the scan.")
        unit = sizes.shown(self.session.state.size_unit)
        return text.format(size=editing.uncertain_ml, unit=unit, share=editing.uncertain_share)
