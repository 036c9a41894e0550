"""All cases in one table: what is labelled, who is at what, what the model makes of the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from monailabel_app.app.assignments import Held, clock
from monailabel_app.app.datastore import FINAL
from monailabel_app.app.infer_task import find_task
from monailabel_app.app.looked_at import kept_looked_at
from monailabel_app.app.scores import Scored
from monailabel_app.jobs.job import MEASURE
from monailabel_app.store.records import CurrentLabel
from monailabel_app.store.review_status import shown_review
from uncertaintyseg import wire
from uncertaintyseg.data.time_axis import AXIS

if TYPE_CHECKING:
    from monailabel_app.app.application import UncertaintySegApp


def work_list(app: UncertaintySegApp, model: str | None, annotator: str) -> list[wire.CaseRow]:
    """One row an image, in the order of ids.

    Args:
        app: The app.
        model: Whose scores; None takes the one that has scored most.
        annotator: Whose leases and skipped images are "mine".

    Raises:
        NotFoundError: No such model.
    """
    tasks = {model: find_task(app.infers, model)} if model else app.infers
    with app.datastore().lock:
        by_model = {name: app.scores.all_of(name, task.checksum) for name, task in tasks.items()}
        chosen, scored = max(by_model.items(), key=lambda item: len(item[1]), default=(None, {}))
        final = {label.version.image: label for label in app.datastore().store.labels() if label.version.tag == FINAL}
        tags, held, skipped = app.datastore().tags(), app.assignments.held(), app.assignments.skipped_by(annotator)
    waiting = [image for image, labels in tags.items() if FINAL not in labels and image in scored]
    waiting.sort(key=lambda image: -scored[image].scores[MEASURE])
    rank = {image: place for place, image in enumerate(waiting, start=1)}
    rows = []
    for image in sorted(tags):
        lease, known = held.get(image), scored.get(image)
        status = "labelled" if FINAL in tags[image] else "leased" if lease else "unlabelled"
        mine = lease is not None and lease.annotator == annotator
        reason = _reason(status, None if mine else lease, known, f"{rank.get(image)} of {len(rank)}", chosen)
        rows.append(
            wire.CaseRow(
                id=image,
                status=status,
                score=known and known.scores[MEASURE],
                scores=known.scores if known else {},
                model=chosen,
                lease=lease and wire.Lease(annotator=lease.annotator, until=lease.until, mine=mine),
                skipped=image in skipped,
                labels=tags[image],
                reason=reason,
                looked_at=kept_looked_at(final[image].version.info) if image in final else None,
                final=_final(final[image], annotator) if image in final else None,
                axis=app.datastore().notes(image).get(AXIS),
            )
        )
    datastore = app.datastore()
    return rows + [_missing(image, skipped=image in skipped) for image in datastore.missing()]


def _final(label: CurrentLabel, annotator: str) -> wire.FinalLabel:
    version = label.version
    return wire.FinalLabel(
        version=version.id,
        made_by=version.made_by,
        mine=version.made_by == annotator,
        time=version.time,
        review=shown_review(label.info),
    )


def _missing(image: str, *, skipped: bool) -> wire.CaseRow:
    away = "its scan is away; labels and notes are kept until it is back, or an admin removes it"
    nothing = {"score": None, "scores": {}, "model": None, "lease": None, "labels": []}
    return wire.CaseRow(id=image, status="missing", skipped=skipped, reason=away, **nothing)


def _reason(status: str, others: Held | None, known: Scored | None, rank: str, model: str | None) -> str:
    if status == "labelled":
        return "has a final label"
    if others is not None:
        return f"{others.annotator} has it until {clock(others.until)}"
    if known is None:
        return f"no score by {model} yet" if model else "no score yet"
    return f"{model}: {known.scores[MEASURE]:.4g} nats, rank {rank} without a label"
