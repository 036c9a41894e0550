"""Run a model: on the scan alone, or on a label that is there already."""

from __future__ import annotations

import re
from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic import fitting, settings, shown_slices
from UncertaintySegLib.logic.inference import Inference
from UncertaintySegLib.logic.matching import Matching
from UncertaintySegLib.logic.run_choice import RunChoice
from UncertaintySegLib.logic.structures import FEW, numbered
from UncertaintySegLib.panel.example_pictures import ExamplePictures
from UncertaintySegLib.panel.parts_table import PartsTable
from UncertaintySegLib.panel.run_box import RunBox
from UncertaintySegLib.panel.section import Section
from UncertaintySegLib.panel.widgets import fill, may_discard_edits, name_keys
from UncertaintySegLib.scene.overlay import title
from UncertaintySegLib.scene.region_of_interest import RegionOfInterest
from UncertaintySegLib.server.replies import LabelShift, Model

_MODEL, _SAVED, _SCENE, _BLANK = "model", "saved", "scene", "blank"
_NAMED = 4  # labels of a model that has many; the tool tip has all of them
_BREAKS = re.compile(r"[/_]+")  # where a line may end in the name of a folder, which would widen the panel


class SegmentSection(Section):
    """Chooses a model and what it starts from, and runs it."""

    name = "Segment"
    title = _("Segment")

    def setup(self) -> None:
        """Connect the widgets."""
        ui = self.ui
        self._choice = RunChoice()
        self._run = RunBox(ui, self.session, self._choice, RegionOfInterest(self.session.scene.scene))
        self.inference = Inference(self.session, _may_run, self._run.params)
        self._parts = PartsTable(
            ui.partsTable, ui.partsLabel, ui.partsFilterLineEdit, Matching(self.session), self.refresh
        )
        self._pictures = ExamplePictures(ui.examplesWidget, self.session)
        self._matched: tuple[object, str] | None = None
        self._info = None
        self._is_flat: bool | None = None
        self._task_tip, self._model_tip = ui.taskComboBox.toolTip, ui.modelComboBox.toolTip
        self._start = _MODEL
        self._starts: list[str] = []
        ui.taskComboBox.currentIndexChanged.connect(self.on_task)
        ui.modelComboBox.currentIndexChanged.connect(self.on_model)
        ui.startComboBox.currentIndexChanged.connect(self.on_start)
        ui.segmentationComboBox.setMRMLScene(slicer.mrmlScene)
        ui.segmentationComboBox.connect("currentNodeChanged(vtkMRMLNode*)", self.on_segmentation)
        ui.runButton.clicked.connect(self.on_run)
        ui.examplesButton.clicked.connect(self.on_examples)
        name_keys({"segment": ui.runButton})
        self.session.case_opened.connect(self.on_case)
        self.session.segment_wanted.connect(self.on_wanted)
        self.on_case()

    def exit(self) -> None:
        """Leave the mouse to the other module."""
        self._run.prompts.stop()

    def close(self) -> None:
        """Watch no more."""
        self._run.prompts.close()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        return {"segment": self.ui.runButton.click}

    @property
    def model(self) -> Model | None:
        """The chosen model."""
        info = self.session.state.info
        return info.models.get(self.session.state.model) if info else None

    def on_task(self, *_arguments) -> None:
        """Offer the models of the task."""
        self._offer_models(self.ui.taskComboBox.currentText)
        self._remember()

    def on_model(self, *_arguments) -> None:
        """Take another model, and remember it."""
        models = self._models(self.ui.taskComboBox.currentText)
        self._choose(models[self.ui.modelComboBox.currentIndex].name)
        self._remember()

    def on_case(self) -> None:
        """Offer what the case can start from: the label that the server has of it comes first."""
        starts = {_MODEL: _("the model's own segmentation")}
        if self.session.state.label is not None:
            starts = {_SAVED: _("the label on the server"), **starts}
        starts[_SCENE] = _("a segmentation of the scene")
        if self._is_shown_slices:
            starts[_BLANK] = _("an empty label, to draw the first examples")
        self._starts = list(starts)
        self._start = fill(self.ui.startComboBox, starts)
        self.refresh()

    @property
    def _is_shown_slices(self) -> bool:
        """Whether the chosen model is shown slices in place of training."""
        return self.model is not None and self.model.examples is not None

    def on_start(self, *_arguments) -> None:
        """Start from something else."""
        self._start = self._starts[self.ui.startComboBox.currentIndex]
        self.refresh()

    def on_segmentation(self, *_arguments) -> None:
        """Match the segments of the chosen segmentation to the labels of the model."""
        self._matched = None
        self.refresh()

    def on_wanted(self) -> None:
        """Run the chosen model on a case that was opened."""
        if self.model is not None:
            self.inference.run(self.model)

    def on_run(self, *_arguments) -> None:
        """Run the model; edits that were not submitted are lost only with consent."""
        model = self.model
        if model is None or self.session.busy or not may_discard_edits(self.session):
            return
        if self._start == _SAVED and self.session.state.label is not None:
            self.inference.review_label(model, self.session.state.label)
        elif self._start == _SCENE:
            node = self.ui.segmentationComboBox.currentNode()
            self.inference.review_segmentation(model, node, self._parts.labels())
        elif self._start == _BLANK:
            self.session.blank_wanted.emit()
        else:
            self.inference.run(model)

    def on_examples(self, *_arguments) -> None:
        """Send what was corrected, and run the model with these slices as examples."""
        if self.model is not None and not self.session.busy:
            self._choice.use_examples(self.model)
            self.session.examples_wanted.emit()

    def refresh(self) -> None:
        """Make the widgets show the state of the session."""
        state, ui = self.session.state, self.ui
        if state.info is not self._info or self.session.scene.is_flat != self._is_flat:
            self._info, self._is_flat = state.info, self.session.scene.is_flat
            self._offer_tasks()
        model = self.model
        self._match()
        ui.aboutLabel.setText(_about(model) if model else self._nothing())
        ui.aboutLabel.setToolTip(", ".join(numbered(each.id, each.name) for each in model.labels) if model else "")
        self._run.show(model)
        ui.existingWidget.setVisible(self._start == _SCENE)
        self._show_examples()
        for widget in (ui.taskComboBox, ui.modelComboBox, ui.startComboBox):
            widget.setEnabled(model is not None and not self.session.busy)
        can_start = self._start != _SCENE or self._parts.ready
        ui.runButton.setEnabled(bool(model and state.sample and can_start and not self.session.busy))
        texts = {_MODEL: _("Segment"), _SAVED: _("Estimate the risk of this label")}
        texts[_SCENE] = _("Estimate the risk of this segmentation")
        texts[_BLANK] = _("Draw the first examples")
        ui.runButton.setText(texts[self._start])

    def _show_examples(self) -> None:
        """Offer to show the model what was corrected, and say what it was shown."""
        ui, session = self.ui, self.session
        ui.examplesButton.setVisible(self._is_shown_slices)
        ui.examplesButton.setEnabled(session.scene.is_segmented and not session.busy)
        text = shown_slices.told(session.state.base, session.scene.case or "") if self._is_shown_slices else ""
        ui.examplesLabel.setText(text)
        ui.examplesLabel.setVisible(bool(text))
        self._pictures.show(wanted=bool(text))
        if self._is_shown_slices != (_BLANK in self._starts):
            self.on_case()

    def _match(self) -> None:
        node = self.ui.segmentationComboBox.currentNode()
        chosen = (node, self.session.state.model)
        if chosen != self._matched:
            self._matched = chosen
            self._parts.show(node, self.model)

    def _models(self, task: str) -> list[Model]:
        return [model for model in self._offered() if _task(model) == task]

    def _offered(self) -> list[Model]:
        """The models that take the scan of the case."""
        models = self._info.models.values() if self._info else ()
        return [model for model in models if fitting.fits(model, self.session.scene)]

    def _before(self) -> Model | None:
        """The one that was chosen last of those that take the scan."""
        kept = [settings.value(key) for key in fitting.KEPT.values()]
        models = {model.name: model for model in self._offered()}
        chosen = next((models[name] for name in reversed(kept) if name in models), None)
        return models.get(self.session.state.model, chosen)

    def _offer_tasks(self) -> None:
        before, tasks = self._before(), {_task(model): _task(model) for model in self._offered()}
        task = fill(self.ui.taskComboBox, tasks, _task(before) if before else None)
        others = self._info.models.values() if self._info else ()
        for combo_box, text in ((self.ui.taskComboBox, self._task_tip), (self.ui.modelComboBox, self._model_tip)):
            combo_box.setToolTip("\n".join(filter(None, (text, fitting.unfit(others, self.session.scene)))))
        self._offer_models(task or "")

    def _offer_models(self, task: str) -> None:
        texts, before = {model.name: _short_name(model) for model in self._models(task)}, self._before()
        self._choose(fill(self.ui.modelComboBox, texts, before.name if before else None) or "")

    def _nothing(self) -> str:
        """Why there is no model."""
        if self._info is None or not self._info.models:
            return _("Connect to a server to see its models.")
        return fitting.none_fits(self._info.models.values(), self.session.scene)

    def _remember(self) -> None:
        if self.model is not None:
            settings.remember(fitting.KEPT[self.model.dimensions], self.model.name)

    def _choose(self, name: str) -> None:
        if name != self.session.state.model:
            self.session.state.model = name
            self.session.changed.emit()


def _may_run(warnings: str) -> bool:
    return slicer.util.confirmOkCancelDisplay(_("{warnings}\n\nRun the model anyway?").format(warnings=warnings))


def _task(model: Model) -> str:
    """Return the task of a model; a stock MONAI Label model has none but its own."""
    return model.task or model.name


def _short_name(model: Model) -> str:
    """Return a model's name without its task, which is shown beside it."""
    prefix = f"{model.task}_"
    return model.name[len(prefix) :] if model.task and model.name.startswith(prefix) else model.name


def _labels(model: Model) -> str:
    names = [label.name for label in model.labels]
    if len(names) <= FEW:
        return _("Labels: {names}.").format(names=", ".join(names))
    text = _("{count} labels: {names} and {more} more.")
    return text.format(count=len(names), names=", ".join(names[:_NAMED]), more=len(names) - _NAMED)


def _moved(shift: LabelShift) -> str:
    if not shift.voxels:
        return _("Its label is that of {base}: no voxel moved in the validation cases.").format(base=shift.base)
    text = _(
        "Its label is not quite that of {base}: {voxels} voxels moved in the validation cases, {percent:.2g} % of the "
        "structures."
    )
    return text.format(base=shift.base, voxels=shift.voxels, percent=100 * shift.voxels / max(shift.foreground, 1))


def _about(model: Model) -> str:
    lines = [_BREAKS.sub("\\g<0>\u200b", model.description)] if model.description else []
    lines.append(_labels(model))
    if model.head:
        version = _("version {number}, ").format(number=model.version) if model.version is not None else ""
        weights = (model.checksum or _("none"))[:8]
        lines.append(_("Head {head}, {version}weights {weights}.").format(
            head=model.head, version=version, weights=weights
        ))  # fmt: skip
        text = _("Calibrated on {data}.") if model.calibrated else _("Not calibrated: {data}.")
        data = model.calibration.removeprefix("uncalibrated: ").rstrip(".")
        by = _(", by {map}").format(map=title(model.driven_by).lower()) if model.driven_by else ""
        lines.append(text.format(data=data + by))
    if model.origin:
        lines.append(_BREAKS.sub("\\g<0>\u200b", model.origin))
    if model.label_shift is not None:
        lines.append(_moved(model.label_shift))
    return "\n".join(lines)
