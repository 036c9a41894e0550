"""A model runs on the case: on the scan alone, or to say where a label that is there already may be wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Any

import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.errors import SceneError, UncertaintySegError
from UncertaintySegLib.logic import fitting, settings, shown_slices
from UncertaintySegLib.logic.run_choice import RunChoice
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.logic.summary import threshold
from UncertaintySegLib.scene import intake_labels
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import RISK, Model, Sample
from UncertaintySegLib.server.results import InferResult, parse_result

_LONG = ("structures", "region")


@dataclass(frozen=True)
class _Existing:
    """A label that was there before the model: its file, the node that it is from, and what is not scored of that."""

    file: Path
    node: slicer.vtkMRMLNode | None = None
    others: slicer.vtkSegmentation | None = None
    remark: str = ""


class Inference:
    """Runs models.

    Args:
        session: What all sections share.
        may_run: Asked, with the server's warnings, before a model runs on a scan that does not suit it.
        params: How a model is run, as the request `infer` takes it; with False for the whole scan and every structure.
    """

    def __init__(
        self,
        session: Session,
        may_run: Callable[[str], bool],
        params: Callable[[Model, bool], dict[str, Any]] = lambda _model, _confined: {},
    ) -> None:
        self.session = session
        self.may_run = may_run
        self.params = params
        self._hidden: list[slicer.vtkMRMLSegmentationDisplayNode] = []
        session.case_opened.connect(self._show_hidden)
        session.case_closed.connect(self._show_hidden)

    def run(self, model: Model) -> None:
        """Segment the case and show label and first map."""

        def done(answer: dict[str, Any]) -> None:
            result = parse_result(answer["result"])
            corrected, before = shown_slices.of_case(result, self._case), None
            if corrected:
                before = shown_slices.drawn(self.session, model.name)
            kept = None if before is None else partial(shown_slices.kept, before, corrected, self.session.scene.scan)
            self.session.show_result(result, Path(answer["label"]), _paths(answer["maps"]), kept=kept)
            if kept is not None:
                self.session.review_wanted.emit()  # the risk is that of the model's own label
            self.session.scene.edited = False
            said = _("{case} segmented by {model}.").format(case=self._case, model=model.name)
            run_as = _described(result.provenance.get("params") or {})
            said = " ".join(part for part in (said, run_as, threshold(result)) if part)
            fallback = result.provenance.get("fallback")
            self.session.say(
                _("{said} Not as usual: {fallback}.").format(said=said, fallback=fallback) if fallback else said
            )

        self._infer(model, done, confined=True)

    def review_label(self, model: Model, file: Path) -> None:
        """Show a label file of the server, with the risk that a model sees in it, instead of the model's own label."""
        self._infer(model, lambda answer: self._review(answer, _Existing(file)))

    def review_segmentation(self, model: Model, node: slicer.vtkMRMLNode, labels: Mapping[str, int | None]) -> None:
        """Show a segmentation of the scene, with the risk that a model sees in it, instead of the model's own label.

        Args:
            model: The model.
            node: A segmentation or label map; it stays as it is, hidden while the case is open.
            labels: The model's label id for each `Part.id`; the others are shown and not scored.
        """
        file = self.session.folder / "uploads" / "label.nii"
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            taken = intake_labels.write_label(node, labels, self.session.scene.scan, file)
        except (UncertaintySegError, OSError) as error:
            self.session.fail(str(error))
            return
        text = _("{name} lies on another grid: its nearest voxels were taken.").format(name=node.GetName())
        existing = _Existing(file, node, taken.others, text if taken.resampled else "")
        self._infer(model, lambda answer: self._review(answer, existing))

    @property
    def _case(self) -> str:
        return self.session.state.sample.id if self.session.state.sample else ""

    def _infer(self, model: Model, done: Any, *, confined: bool = False) -> None:
        session = self.session
        if session.busy:
            return
        if session.state.sample is None or session.scene.scan is None or session.scene.scan.GetScene() is None:
            session.fail(_("The scan is no longer in the scene: take the case again."))
            return
        if session.obstacle or fitting.unfit([model], session.scene):
            session.fail(session.obstacle or fitting.unfit([model], session.scene))
            return
        sample = session.state.sample
        try:
            params = self.params(model, confined)
        except UncertaintySegError as error:
            session.fail(error)
            return

        def ask(anyway: bool) -> None:
            asked = {**arguments, "anyway": anyway}
            if anyway and len(model.channels) > 1:  # whoever was asked said that the channels are right
                asked["params"] = {**params, "force": True}
            session.ask("infer", asked, checked, stage=_("Waiting for the server"))

        def checked(answer: dict[str, Any]) -> None:
            self._require(sample)
            if "warnings" not in answer:
                done(answer)
            elif self.may_run("\n".join(answer["warnings"])):
                ask(True)
            else:
                session.say(_("{model} was not run on {case}.").format(model=model.name, case=sample.id))

        maps = first_maps(session.scene, model)
        arguments = {"model": model.name, "image": sample.id, "params": params, "maps": maps}
        ask(False)

    def _review(self, inferred: dict[str, Any], existing: _Existing) -> None:
        base, sample = parse_result(inferred["result"]), self.session.state.sample

        def done(answer: dict[str, Any]) -> None:
            self._require(sample)
            self._show_review(parse_result(answer["result"]), base, existing, _paths(answer["maps"]))
            # Clicks move what the model moves, and nothing else of a label that is not the model's.
            self.session.state.model_label = Path(inferred["label"])
            text = _("{case}: the label that was there, with what {model} thinks of it.")
            said = text.format(case=sample.id, model=base.provenance.get("model", ""))
            self.session.say(f"{said} {existing.remark}".strip())

        params = {"trusted": "none", "accepted": []}
        arguments = {"result": base.key, "file": str(existing.file), "params": params, "maps": [RISK]}
        self.session.ask("review", arguments, done, stage=_("Comparing the label with the model"))

    def _show_review(self, review: InferResult, base: InferResult, existing: _Existing, maps: dict[str, Path]) -> None:
        scene = self.session.scene
        segmentation = scene.show_segmentation(existing.file, base.labels, review.provenance)
        if existing.others is not None:
            intake_labels.add_others(segmentation, existing.others)
        if existing.node is not None:
            self._hide(existing.node)
        scene.edited = False
        if RISK in maps:
            scene.wanted = RISK  # the one map that is of this label, and not of the model's own
        self.session.show_result(review, None, maps, base=base)

    def _require(self, sample: Sample) -> None:
        if self.session.state.sample is not sample:
            raise SceneError(_("The case was closed meanwhile: take it again."))

    def _hide(self, node: slicer.vtkMRMLNode) -> None:
        """Take the user's segmentation out of the views, so that nobody edits it in place of its copy."""
        display = node.GetDisplayNode() if node.GetScene() is not None else None
        if display is not None and display.GetVisibility():
            display.SetVisibility(False)
            self._hidden.append(display)

    def _show_hidden(self) -> None:
        for display in self._hidden:
            if display.GetScene() is not None:
                display.SetVisibility(True)
        self._hidden.clear()


def _described(params: Mapping[str, Any]) -> str:
    """Return how a model was run, where that was not as it is: the sentence behind the one that says it has."""
    told = [f"{name.replace('_', ' ')} {_one(value)}" for name, value in params.items() if name not in _LONG]
    if "structures" in params:
        told.append(_("{count} structures").format(count=len(params["structures"])))
    if "region" in params:
        told.append(_("only in the region of interest"))
    return _("Run with {choices}.").format(choices=", ".join(told)) if told else ""


def unasked(session: Session) -> dict[str, Any] | None:
    """Return what `infer` is asked with where the chosen model runs by itself, less the case; None where none does."""
    info = session.state.info
    model = info.models.get(session.state.model) if info is not None and info.may_work else None
    if model is None or not settings.value("segmentByItself"):
        return None
    return {"model": model.name, "params": RunChoice().params(model), "maps": first_maps(session.scene, model)}


def _one(value: Any) -> str:
    """Return a setting in words; a list as one thing, and so are the settings of one part."""
    if isinstance(value, Mapping):
        value = [f"{name.replace('_', ' ')} {each}" for name, each in value.items() if each is not None]
    return f"({', '.join(map(str, value))})" if isinstance(value, (list, tuple)) else str(value)


def first_maps(scene: CaseScene, model: Model) -> list[str]:
    """Return the map that was chosen last or, in case the model makes none such, its first."""
    return [scene.wanted if _has(model, scene.wanted) else model.maps[0]] if scene.wanted and model.maps else []


def _has(model: Model, name: str) -> bool:
    """Return whether a model makes a map; a name that ends in `*` stands for one map for each structure."""
    return any(fnmatchcase(name, known) for known in model.maps)


def _paths(files: Mapping[str, str]) -> dict[str, Path]:
    return {name: Path(path) for name, path in files.items()}
