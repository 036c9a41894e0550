"""Many cases in the background: the selected rows, or a folder of scans, with progress and what failed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.batch import Batch, Item, as_pictures, scans_in, size_mb
from UncertaintySegLib.logic.run_choice import RunChoice
from UncertaintySegLib.server.replies import Model

_STEPS = 1000


class BatchBox:
    """Connects the widgets of Cases.ui that are about many cases.

    Args:
        ui: The widgets by name.
        batch: Runs the model.
        selected: Gives the cases whose rows are selected.
    """

    def __init__(self, ui, batch: Batch, selected: Callable[[], list[str]]) -> None:
        self.ui, self.batch, self._selected = ui, batch, selected
        ui.batchProgressBar.setRange(0, _STEPS)
        ui.batchButton.clicked.connect(self.on_selected)
        ui.batchFolderButton.clicked.connect(self.on_folder)
        ui.batchCancelButton.clicked.connect(lambda *_arguments: batch.cancel())
        ui.casesTable.itemSelectionChanged.connect(self.refresh)
        batch.changed.connect(self.refresh)
        self.refresh()

    @property
    def _model(self) -> Model | None:
        state = self.batch.session.state
        return state.info.models.get(state.model) if state.info else None

    def on_selected(self, *_arguments) -> None:
        """Segment and score the cases whose rows are selected."""
        self._start([Item(case) for case in self._selected()])

    def on_folder(self, *_arguments) -> None:
        """Upload the scans of a folder, after a question that says what goes where, then segment and score them."""
        session = self.batch.session
        chosen = qt.QFileDialog.getExistingDirectory(
            self.ui.batchFolderButton, _("Folder with the scans"), settings.value("batchFolder")
        )
        if not chosen:
            return
        settings.remember("batchFolder", chosen)
        try:
            items = self._scans(Path(chosen))
            megabytes = size_mb(items)
        except SceneError as error:
            session.fail(error)
            return
        except OSError as error:
            session.fail(_("{folder} cannot be read: {error}").format(folder=chosen, error=error.strerror or error))
            return
        if not items:
            session.fail(_("{folder} has no scans of one file each (NIfTI, NRRD, MetaImage).").format(folder=chosen))
            return
        question = _(
            "All voxels of {count} scans in {folder} ({megabytes:.0f} MB) will be copied to {server}, under the names "
            "of their files, as far as it has not got them. Go on?"
        )
        told = {"count": len(items), "folder": chosen, "megabytes": megabytes, "server": session.url}
        if slicer.util.confirmOkCancelDisplay(question.format(**told)):
            self._start(items)

    def refresh(self, *_arguments) -> None:
        """Make the widgets show how far the batch is."""
        ui, batch = self.ui, self.batch
        state, running = batch.session.state, batch.running
        ready = self._model is not None and not running and not state.read_only
        count = len(self._selected()) if ready else 0
        ui.batchButton.setEnabled(bool(count))
        one, more = _("Segment the selected case"), _("Segment {count} selected cases").format(count=count)
        ui.batchButton.setText(more if count > 1 else one)
        ui.batchFolderButton.setEnabled(ready)
        pictures = ready and self._model.dimensions == 2 and len(self._model.channels) == 1
        for widget in (ui.batchClipsCheckBox, ui.batchSpacingCheckBox):
            widget.setVisible(pictures)
        for widget in (ui.batchProgressBar, ui.batchCancelButton):
            widget.setVisible(running)
        ui.batchProgressBar.setValue(round(_STEPS * batch.fraction))
        ui.batchLabel.setText("\n".join(filter(None, (batch.text, batch.reasons))))
        ui.batchLabel.setVisible(bool(batch.text))

    def _scans(self, folder: Path) -> list[Item]:
        ui, model = self.ui, self._model
        items = scans_in(folder, model.channels)
        if model.dimensions == 2 and len(model.channels) == 1:
            known = not ui.batchSpacingCheckBox.checked
            return as_pictures(items, clips=bool(ui.batchClipsCheckBox.checked), spacing_known=known)
        return items

    def _start(self, items: list[Item]) -> None:
        model = self._model
        if model is not None:
            self.batch.start(items, model, RunChoice().params(model))
