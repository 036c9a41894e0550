"""Slices that a model is shown in place of training: which were, and that those of the case stay as they were drawn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import slicer
from slicer.i18n import tr as _

from UncertaintySegLib.logic.places import Box
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.scene import navigation, segments, slice_pictures, whole_slices
from UncertaintySegLib.server.examples import Example, left_out, parse_examples
from UncertaintySegLib.server.results import InferResult


def told(result: InferResult | None, case: str) -> str:
    """Return which slices the model of a result was shown; empty where it has learnt what it knows."""
    examples = parse_examples(result.provenance) if result is not None else ()
    if not examples:
        return ""
    groups: dict[str, list[Example]] = {}
    for example in sorted(examples, key=lambda example: example.case != case):
        groups.setdefault(example.case, []).append(example)
    listed = "; ".join(_listed(found, found[0].case == case) for found in groups.values())
    count = len(examples)
    text = _("It was shown 1 slice: {slices}.") if count == 1 else _("It was shown {count} slices: {slices}.")
    told = text.format(count=count, slices=listed)
    others = left_out(result.provenance)
    if others:
        text = _("{told} Left out, for they are of another kind (image or volume): {cases}.")
        told = text.format(told=told, cases=", ".join(others))
    return told


def of_case(result: InferResult | None, case: str) -> list[Example]:
    """Return the slices of the case itself that the model of its result was shown."""
    examples = parse_examples(result.provenance) if result is not None else ()
    return [example for example in examples if example.case == case]


def boxes(session: Session) -> list[Box]:
    """Return the slices of the case that the model of its result was shown, first and last voxel of each."""
    scene = session.scene
    examples = of_case(session.state.base, scene.case) if scene.is_segmented else []
    return [whole_slices.one(scene.scan, example.axis, example.index) for example in examples]


def pictures(session: Session, side: int) -> list[tuple[Example, np.ndarray]]:
    """Return the slices of the open scan that the model of its result was shown, each as `slice_pictures.picture`.

    Args:
        session: Whose case it is.
        side: Pixels of a picture's longer side.
    """
    scene = session.scene
    examples = of_case(session.state.base, scene.case)
    if not examples:
        return []
    ids, colors = scene.label_ids(), scene.structure_colors()
    return [
        (each, slice_pictures.picture(scene.scan, ids, each.axis, each.index, colors, side))
        for each in examples
        if each.index < scene.scan.GetImageData().GetDimensions()[each.axis]
    ]


def look_at(session: Session, example: Example) -> None:
    """Show a slice of the open scan in the views."""
    scene = session.scene
    if scene.scan is None or scene.scan.GetScene() is not scene.scene:
        return
    corners = navigation.corners(scene.scan, whole_slices.one(scene.scan, example.axis, example.index))
    navigation.look_at(scene.scene, tuple(corners.mean(axis=0)), corners)


def named(example: Example) -> str:
    """Return plane and place of a slice, for people; frames of clips are counted from 1, as in Slicer."""
    return f"{example.plane} {example.index}" if example.plane else _("frame {number}").format(number=example.index + 1)


def drawn(session: Session, model: str) -> np.ndarray | None:
    """Return the label of the case with the structures of a model, as it is drawn or as the server has it.

    Returns:
        As `CaseScene.label_ids`; None where there is none, or only one of another model.
    """
    scene, named = session.scene, session.label_model
    if scene.is_segmented:
        return scene.label_ids() if named is not None and named.name == model else None
    return segments.file_ids(scene.scan, session.state.label) if session.state.label is not None else None


def kept(
    before: np.ndarray, examples: Sequence[Example], scan: slicer.vtkMRMLScalarVolumeNode, ids: np.ndarray
) -> np.ndarray:
    """Return a label, `ids`, in which the slices that a person has corrected are as they were before."""
    found = ids.copy()
    for example in examples:
        place = whole_slices.voxels(scan, example.axis, example.index)
        found[place] = before[place]
    return found


def _listed(examples: Sequence[Example], is_own: bool) -> str:
    first, places = examples[0], ", ".join(str(example.index) for example in examples)
    name = _("this scan") if is_own else first.case
    if first.same_patient and not is_own:
        name = _("{case} (same patient)").format(case=name)
    return f"{name} {first.plane} {places}" if first.plane else f"{name} {places}"
