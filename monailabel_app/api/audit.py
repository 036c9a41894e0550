"""The audit trail: one entry for each thing that somebody did, kept in the same transaction as what it changed."""

from __future__ import annotations

import functools
import math
import threading
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import Future
from contextvars import ContextVar, copy_context
from datetime import datetime, timezone
from typing import Annotated, Any

from fastapi import APIRouter, Query

from monailabel_app.api.instance import running_app
from monailabel_app.jobs import Job, Step
from monailabel_app.jobs.shown import Shown
from monailabel_app.store.records import Version
from uncertaintyseg.tokens import Identity, Role

router = APIRouter(tags=["Audit"])

caller: ContextVar[tuple[Identity, str]] = ContextVar("caller", default=(Identity("server", Role.admin), ""))
"""Who made the request at work, and from which address."""

_DECIDING = ("checksum", "seed", "samples", "method", "scope", "roi")
_NAMED, _NAME = 20, 64  # structures in a line, and characters of a name
_CASES = 10_000  # whose last result is remembered


def audit(event: str, **fields: Any) -> None:
    """Note what the present caller did: with the transaction at hand, or at once; it is on the disk then.

    Args:
        event: infer, save, condition, score, train, publish and so on: docs/deployment.md lists them.
        fields: What it was done to and with; they win over who, role and address.

    Raises:
        StorageError: It cannot be noted; then what it belongs to does not happen either.
        StudiesAwayError: The records are away.
    """
    identity, address = caller.get()
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    who = {"who": identity.name, "role": identity.role.name, "address": address}
    store = running_app().datastore().store
    with store.transaction():
        store.append_audit(_printable({"time": time, "event": event, **who, **fields}))


def audit_job(job: Job) -> None:
    """Note a job before it is queued: who asked for it, and all that decides its result.

    Raises:
        StorageError: It cannot be noted; then it must not be queued.
    """
    job.owners.add(caller.get()[0].name)
    steps = list(job.steps)
    model = running_app().models.get(job.model)
    head = model.head if model else None
    prefetch = {} if job.prefetch_for is None else {"prefetch_for": job.prefetch_for}
    audit(job.kind, job=job.id, model=job.model, head=head, **_decided_by(steps), **prefetch)
    for step in steps:
        if not prefetch:
            note_result(step)
    if job.kind == "train":
        job.outcome.add_done_callback(functools.partial(copy_context().run, _note_publication, job))


def note_result(step: Step) -> None:
    """Keep what a case was last asked for, as soon as that is known."""
    if step.image is not None and step.key is not None:
        last_results.note(step.image, step.key)


def audit_batch_label(model: str, version: Version) -> None:
    """Note a label that a batch inference saves; the batch's own line says who asked for it."""
    audit("batch_label", case=version.image, tag=version.tag, version=version.id, model=model)


def _decided_by(steps: list[Step]) -> dict[str, Any]:
    work = steps[0].work if steps else None
    fields = {name: getattr(work, name) for name in _DECIDING if getattr(work, name, None) is not None}
    fields |= _asked_for(getattr(work, "structures", None)) | _shown(getattr(work, "shown", None))
    if len(steps) == 1 and steps[0].key is not None:
        return {"case": steps[0].image, "result": work.key, **fields}
    return {"cases": len(steps), **fields} if work is None or work.key is not None else fields


def _asked_for(structures: Sequence[str] | None) -> dict[str, Any]:
    """The structures of a model that a run is for, and how many more there are; nothing where it is for all."""
    if structures is None:
        return {}
    more = {"more_structures": len(structures) - _NAMED} if len(structures) > _NAMED else {}
    return {"structures": [name[:_NAME] for name in structures[:_NAMED]], **more}


def _shown(shown: Shown | None) -> dict[str, Any]:
    """Whose corrected slices a model is shown, and a hash of them; nothing where it is as it is."""
    return {} if shown is None else {"examples": [case[0] for case in shown.cases], "examples_sha256": shown.key}


def _note_publication(job: Job, outcome: Future[dict[str, Any]]) -> None:
    if not outcome.cancelled() and outcome.exception() is None and outcome.result().get("published"):
        audit("publish", job=job.id, model=job.model, version=outcome.result().get("version"))


class LastResults:
    """The result that each case was last asked for: what a person who saves a label has most likely corrected."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, image: str, key: str) -> None:
        """Remember a case's newest result; what was longest untouched is forgotten."""
        with self._lock:
            self._keys[image] = key
            self._keys.move_to_end(image)
            if len(self._keys) > _CASES:
                self._keys.popitem(last=False)

    def of(self, image: str) -> str | None:
        """Return the key, or None when none was asked for since the start."""
        with self._lock:
            return self._keys.get(image)


last_results = LastResults()


@router.get("/uncertainty/v1/audit", summary="The newest entries of the audit trail")
def newest(last: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[dict[str, Any]]:
    """Newest first."""
    return running_app().datastore().store.last_audit(last)


def _printable(value: Any) -> Any:
    """As JSON can have it: what somebody did is noted whatever they wrote."""
    if isinstance(value, dict):
        return {_printable(str(key)): _printable(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_printable(item) for item in value]
    if isinstance(value, bool | int | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value).encode("utf-8", "backslashreplace").decode()
