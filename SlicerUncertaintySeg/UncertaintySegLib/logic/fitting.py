"""Which models take a scan: those of volumes take volumes, those of two dimensions images and the frames of clips."""

from __future__ import annotations

from collections.abc import Iterable

from slicer.i18n import tr as _

from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import Model

KEPT = {2: "flatModel", 3: "model"}
"""Setting that the model chosen last is kept in, by dimensions."""


def fits(model: Model, scene: CaseScene) -> bool:
    """Return whether a model takes the scan of the case; any does where there is none."""
    return scene.case is None or (model.dimensions == 2) == scene.is_flat


def unfit(models: Iterable[Model], scene: CaseScene) -> str:
    """Return why models do not take the scan of the case, in a sentence; empty where all do."""
    names = [model.name for model in models if not fits(model, scene)]
    if not names:
        return ""
    text = _("{scan}: {names} take {other}.")
    other = _("volumes") if scene.is_flat else _("images and clips")
    return text.format(scan=_scan(scene), names=", ".join(names), other=other)


def none_fits(models: Iterable[Model], scene: CaseScene) -> str:
    """Return that no model of the server takes the scan, what they take, and the way out."""
    text = _("No model of this server takes the scan. {why} {way}")
    way = _("Serve a model of two dimensions beside them (docs/images.md).")
    if not scene.is_flat:
        way = _("Serve a model of volumes, or say that the third axis of the scan is time if it is a clip.")
    return text.format(why=unfit(models, scene), way=way)


def _scan(scene: CaseScene) -> str:
    if scene.is_clip:
        return _("{case} is a clip, whose third axis is time").format(case=scene.case)
    text = _("{case} is an image of one slice") if scene.is_flat else _("{case} is a volume")
    return text.format(case=scene.case)
