"""The audit log: one JSON line for each thing that somebody did, appended and on the disk before it is acknowledged."""

from __future__ import annotations

import errno
import functools
import json
import os
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from datetime import datetime, timezone
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query
from monailabel.config import settings

from monailabel_app.access import Access
from monailabel_app.api.instance import running_app
from monailabel_app.jobs import Job, Step
from uncertaintyseg.data.writing import sync_folder
from uncertaintyseg.errors import StorageError
from uncertaintyseg.tokens import Identity, Role

router = APIRouter(tags=["Audit"])

caller: ContextVar[tuple[Identity, str]] = ContextVar("caller", default=(Identity("server", Role.admin), ""))
"""Who made the request at work, and from which address."""

_DECIDING = ("checksum", "seed", "samples", "method", "scope")
_CASES = 10_000  # whose last result is remembered


class AuditLog:
    """Files `audit-DATE.jsonl` (UTC) in a folder. Lines are only ever appended; nothing here rewrites or removes one.

    Raises:
        StorageError: From `append`, when the line cannot be written: then the request fails as well.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._sync = ThreadPoolExecutor(1, thread_name_prefix="audit")

    def append(self, entry: dict[str, Any], *, wait: bool = True) -> None:
        """Write one line. It outlives this process, and a power cut as well: at once, or without `wait` soon."""
        line = (json.dumps(entry, ensure_ascii=False, default=str) + "\n").encode("utf-8", "replace")
        path = self._folder / f"audit-{entry['time'][:10]}.jsonl"
        try:
            with self._lock:
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                _write(path, line)
            on_disk = self._sync.submit(_synchronise, path)
            if wait:
                on_disk.result()
        except OSError as error:
            raise StorageError(
                f"the audit log cannot be written ({error.strerror}), so this is not acknowledged: make room"
            ) from error

    def last(self, count: int) -> list[dict[str, Any]]:
        """Return the newest entries, newest first."""
        lines = (
            line
            for path in sorted(self._folder.glob("audit-*.jsonl"), reverse=True)
            for line in reversed(path.read_bytes().splitlines())
        )
        return [json.loads(line) for line in islice(filter(_is_whole, lines), count)]


def audit(event: str, *, wait: bool = True, **fields: Any) -> None:
    """Note what the present caller did.

    Args:
        event: infer, save, condition, score, train, publish and so on: docs/deployment.md lists them.
        wait: Whether the disk must have it first, as for what people made; what a model made can be made again.
        fields: What it was done to and with; they win over who, role and address.

    Raises:
        StorageError: It cannot be noted.
    """
    identity, address = caller.get()
    time = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    who = {"who": identity.name, "role": identity.role.name, "address": address}
    _log().append({"time": time, "event": event, **who, **fields}, wait=wait)


def audit_job(job: Job) -> None:
    """Note a job before it is queued: who asked for it, and all that decides its result.

    Raises:
        StorageError: It cannot be noted; then it must not be queued.
    """
    steps = list(job.steps)
    model = running_app().models.get(job.model)
    head = model.head if model else None
    audit(job.kind, wait=job.kind == "train", job=job.id, model=job.model, head=head, **_decided_by(steps))
    for step in steps:
        if step.image is not None and step.work.key is not None:
            last_results.note(step.image, step.work.key)
    if job.kind == "train":
        job.outcome.add_done_callback(functools.partial(copy_context().run, _note_publication, job))


def _decided_by(steps: list[Step]) -> dict[str, Any]:
    work = steps[0].work if steps else None
    fields = {name: getattr(work, name) for name in _DECIDING if getattr(work, name, None) is not None}
    if len(steps) == 1 and work.key is not None:
        return {"case": steps[0].image, "result": work.key, **fields}
    return {"cases": len(steps), **fields} if work is None or work.key is not None else fields


def _note_publication(job: Job, outcome: Future[dict[str, Any]]) -> None:
    if not outcome.cancelled() and outcome.exception() is None and outcome.result().get("published"):
        audit("publish", job=job.id, model=job.model, version=outcome.result().get("version"))


class LastResults:
    """The result that each case was last asked for: what a person who saves a label has most likely corrected."""

    def __init__(self) -> None:
        self._keys: OrderedDict[str, str] = OrderedDict()
        self._cases: OrderedDict[str, str] = OrderedDict()
        self._lock = threading.Lock()

    def note(self, image: str, key: str) -> None:
        """Remember a case's newest result; what was longest untouched is forgotten."""
        with self._lock:
            for known, name, value in ((self._keys, image, key), (self._cases, key, image)):
                known[name] = value
                known.move_to_end(name)
                if len(known) > _CASES:
                    known.popitem(last=False)

    def of(self, image: str) -> str | None:
        """Return the key, or None when none was asked for since the start."""
        with self._lock:
            return self._keys.get(image)

    def case(self, key: str) -> str | None:
        """Return the case that a result was last asked for, or None when it was not since the start."""
        with self._lock:
            return self._cases.get(key)


last_results = LastResults()


@router.get("/uncertainty/v1/audit", summary="The newest lines of the audit log")
def newest(last: Annotated[int, Query(ge=1, le=10_000)] = 100) -> list[dict[str, Any]]:
    """Newest first."""
    return _log().last(last)


@functools.cache
def _log() -> AuditLog:
    return AuditLog(Access.from_conf(settings.MONAI_LABEL_APP_CONF).audit)


def _write(path: Path, line: bytes) -> None:
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line was cut short, by a full disk or a power cut
                line = b"\n" + line
        if file.write(line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _synchronise(path: Path) -> None:
    handle = os.open(path, os.O_RDWR | os.O_APPEND)  # all that a system allows that holds the file to appending
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    sync_folder(path.parent)


def _is_whole(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
