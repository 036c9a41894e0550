"""Clicks, scribbles, lassos and boxes on a result, checked and queued (METHODS 14)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from monailabel_app.errors import NotFoundError
from monailabel_app.jobs import Step
from monailabel_app.jobs.condition import Condition, ConditionJob, condition_key
from monailabel_app.jobs.results import Report
from monailabel_app.jobs.shown import SHOWN, shown_with
from uncertaintyseg import wire
from uncertaintyseg.data.checks import named
from uncertaintyseg.errors import InputError
from uncertaintyseg.review.enclosing import Box, check_box, lasso_voxels

if TYPE_CHECKING:
    from monailabel_app.app.application import UncertaintySegApp

CLICKS, STROKES = 1000, 100_000
"""Clicks, and voxels of scribbles, that one request may hold."""


def submit(app: UncertaintySegApp, key: str, corrections: wire.ConditionRequest) -> ConditionJob:
    """Queue the correction of a result.

    Raises:
        NotFoundError: The result or its model is gone.
        InputError: The result is of an image or a clip, a correction is outside the scan or of no structure of the
            model, a voxel is clicked as two things, a lasso or a box is none, or there are too many.
    """
    report = app.results.existing(key)
    made_by = report.risk.provenance
    if report.risk.size_unit != "mL":
        raise InputError("clicks move shapes in volumes, and this result is of an image or a clip: edit its label")
    base = made_by.params.get("base", key)  # clicks on a corrected result are clicks on what it came from
    shape = app.results.shape(key)
    clicks = tuple(sorted(_clicks(corrections, report, shape)))
    lassos, boxes = _lassos(corrections, report, shape), _boxes(corrections, report, shape)
    bundle = app.models.get(made_by.model)
    if bundle is not None and made_by.examples and bundle.checksum != made_by.weights_checksum:
        bundle = shown_with(app.results.root.parent / SHOWN, bundle.name, made_by.weights_checksum)
    if bundle is None:
        raise NotFoundError(f"the model {made_by.model} that made this result is not here any more: infer again")
    work = Condition(
        key=base,
        base=base,
        clicks=clicks,
        lassos=lassos,
        boxes=boxes,
        bundle=str(bundle.folder),
        checksum=made_by.weights_checksum,
        device=made_by.device,
        results=str(app.results.root),
        reach_mm=corrections.reach_mm,
    )
    if says := bool(clicks or lassos or boxes):
        work = replace(work, key=condition_key(work))
    asked = app.requests.of(base)

    def remember(_step: Step, report: Report) -> None:
        if asked is not None and says:
            said = corrections.model_dump(exclude_defaults=True)
            app.requests.note(report.risk.result, asked.model_copy(update={"corrections": said}))

    return app.queue.submit(ConditionJob(made_by.model, Step(asked and asked.image, work), remember))


def _clicks(
    corrections: wire.ConditionRequest, report: Report, shape: Sequence[int]
) -> set[tuple[int, int, int, int, bool]]:
    """Clicks as i, j, k, class id and whether part of a scribble. Raises `InputError` naming what is wrong."""
    found: set[tuple[int, int, int, int, bool]] = set()
    first: dict[tuple[int, int, int], tuple[int, str]] = {}
    for stroke, part, limit in ((False, corrections, CLICKS), (True, corrections.scribbles, STROKES)):
        said = [(field, i, voxel) for field, voxels in _by_name(part) for i, voxel in enumerate(voxels)]
        if len(said) > limit:
            what = "scribbles: too many voxels" if stroke else "too many clicks"
            raise InputError(f"{what}, {len(said)}; a request holds {limit} at most")
        for field, i, voxel in said:
            where = f"{'scribbles.' if stroke else ''}{field}[{i}]"
            if not all(0 <= index < size for index, size in zip(voxel, shape, strict=True)):
                raise InputError(
                    f"{where}: {list(voxel)} is outside the scan of {' x '.join(map(str, shape))} voxels; give IJK "
                    "indices of the stored scan, from 0"
                )
            class_id = _class_of(field, corrections.label, report.labels)
            before, there = first.setdefault(tuple(voxel), (class_id, where))
            if before != class_id:
                names = {0: "background"} | {item.id: item.name for item in report.labels}
                raise InputError(
                    f"{where}: {list(voxel)} is said to be {names[class_id]}, and {names[before]} by {there}; a voxel "
                    "can be one of them: leave one out"
                )
            found.add((*voxel, class_id, stroke))
    return found


def _lassos(
    corrections: wire.ConditionRequest, report: Report, shape: Sequence[int]
) -> tuple[tuple[int, tuple[tuple[float, float, float], ...]], ...]:
    """Class id and corners of each lasso. Raises `InputError` naming what is wrong."""
    found, count = [], 0
    for i, lasso in enumerate(corrections.lassos):
        with named(f"lassos[{i}]"):
            class_id = 0 if lasso.structure == "background" else _structure(lasso.structure, report.labels)
            count += len(lasso_voxels(lasso.corners, shape))
            if count > STROKES:
                raise InputError(f"with those before it goes around {count} voxels; a request holds {STROKES} at most")
        found.append((class_id, tuple(lasso.corners)))
    return tuple(found)


def _boxes(
    corrections: wire.ConditionRequest, report: Report, shape: Sequence[int]
) -> tuple[tuple[int, tuple[int, int, int], tuple[int, int, int]], ...]:
    """Boxes in order, each once. Raises `InputError` naming what is wrong."""
    found: set[Box] = set()
    for i, box in enumerate(corrections.boxes):
        with named(f"boxes[{i}]"):
            made = Box(_structure(box.structure, report.labels), box.first, box.last)
            check_box(made, shape)
        found.add(made)
    return tuple(tuple(box) for box in sorted(found))


def _structure(name: str, labels: Sequence[wire.Label]) -> int:
    """Class id of a structure. Raises `InputError` where the model has none of this name."""
    found = next((item.id for item in labels if item.name == name), None)
    if found is None:
        raise InputError(f"no structure {name!r}; this model has {', '.join(item.name for item in labels)}")
    return found


def _by_name(corrections: wire.Corrections) -> Iterator[tuple[str, list[tuple[int, int, int]]]]:
    yield "foreground", corrections.foreground
    yield "background", corrections.background
    yield from (corrections.model_extra or {}).items()


def _class_of(field: str, label: str | None, labels: Sequence[wire.Label]) -> int:
    ids, names = {item.name: item.id for item in labels}, ", ".join(item.name for item in labels)
    if field == "background":
        return 0
    if field == "foreground" and label is None:
        if len(ids) > 1:
            raise InputError(f"label: say which structure 'foreground' is; this model has {names}")
        return labels[0].id
    name = label if field == "foreground" else field
    if name not in ids:
        where = "label" if field == "foreground" else field
        raise InputError(f"{where}: no structure {name!r}; this model has {names}")
    return ids[name]
