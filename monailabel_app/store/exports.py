"""What other programs read: MONAI Label's `datastore_v2.json` and the audit trail as JSON lines.

Both follow the records and are never read while those are there; `importing` reads the first into new ones.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from monailabel_app.store import review_status
from monailabel_app.store.records import CurrentLabel, Records
from uncertaintyseg.data.writing import sync_folder, write_bytes
from uncertaintyseg.errors import UncertaintySegError

logger = logging.getLogger(__name__)

RECORDS = "datastore_v2.json"
_OURS = "uncertaintyseg"
_QUIET_SECONDS = 0.3  # after a change, so that many at once make one export
_SHARE = 20  # times as long as an export takes is what lies between two
_LINES = 1000


def as_monailabel(records: Records, *, versions: bool = False) -> dict[str, Any]:
    """The records as MONAI Label's local datastore knows them, with the list of versions where asked for."""
    labels: dict[str, dict[str, Any]] = {}
    for label in sorted(records.labels(), key=lambda label: review_status.place(label.version.tag)):
        version = label.version
        labels.setdefault(version.image, {})[version.tag] = {"ext": version.suffix, "info": _label_info(label)}
    objects = {}
    for image, (file, info) in records.images().items():
        name = Path(file).name
        ext = name[len(image) :] if name.startswith(image) else "".join(Path(name).suffixes)
        objects[image] = {"image": {"ext": ext, "info": info}, "labels": labels.get(image, {})}
    found = {
        "name": records.meta("name") or "new-dataset",
        "description": records.meta("description") or "New Dataset",
        "images_dir": ".",
        "labels_dir": "labels",
        "objects": objects,
    }
    if versions:
        found[_OURS] = {"id": records.meta("id"), "versions": [asdict(version) for version in records.versions()]}
    return found


def _label_info(label: CurrentLabel) -> dict[str, Any]:
    """What is noted of a label, as MONAI Label's clients read it."""
    version, review = label.version, review_status.review_of(label.info)
    info = {**review_status.without_review(label.info), "ts": int(version.time)}
    info["name"] = f"{version.image}{version.suffix}"
    if version.made_by:
        info["client_id"] = version.made_by
    if review is not None and review_status.takes_review(version.tag):
        info[review_status.META] = review.as_meta()
    return info


class Exports:
    """Writes both a moment after the records change, in a thread of its own, and once more at the end.

    Args:
        records: What is exported.
        studies: Folder of `datastore_v2.json`.
        audit: Folder of the audit trail; None for none.
    """

    def __init__(self, records: Records, studies: Path, audit: Path | None) -> None:
        self._records, self._studies, self._audit = records, studies, audit
        self._changed, self._over = threading.Event(), threading.Event()
        self._writing = threading.Lock()
        self._written = -1  # revision of the records that the file has
        self._pause = _QUIET_SECONDS
        records.on_change(self._changed.set)
        self._thread = threading.Thread(target=self._follow, name="exports", daemon=True)
        self._thread.start()

    def write(self) -> None:
        """Write both now."""
        with self._writing:
            self._changed.clear()
            self._try(self._write_records)
            self._try(self._write_audit)

    def _try(self, export: Callable[[], None]) -> None:
        try:
            if self._records.is_here():
                export()
        except (OSError, sqlite3.Error, UncertaintySegError) as error:  # what was acknowledged is in the records
            logger.warning("an export waits: %s", error)
            self._over.wait(_QUIET_SECONDS)
            self._changed.set()

    def abandon(self) -> None:
        """Write no more."""
        self._over.set()
        self._changed.set()

    def close(self) -> None:
        """Write what is left, and no more."""
        self.abandon()
        self._thread.join()
        self.write()

    def _follow(self) -> None:
        while not self._over.is_set():
            self._changed.wait()
            if not self._over.wait(self._pause):
                began = time.monotonic()
                self.write()
                self._pause = max(_QUIET_SECONDS, _SHARE * (time.monotonic() - began))

    def _write_records(self) -> None:
        revision = self._records.revision
        if revision == self._written and (self._studies / RECORDS).is_file():
            return
        with self._records.lock:
            found = as_monailabel(self._records, versions=True)
        data = json.dumps(found, ensure_ascii=False, indent=1).encode()
        known = hashlib.sha256(data).hexdigest()
        if self._records.meta("exported") != known or not (self._studies / RECORDS).is_file():
            write_bytes(self._studies / RECORDS, data)
            with self._records.transaction():
                self._records.set_meta("exported", known)
        self._written = revision

    def _write_audit(self) -> None:
        if self._audit is None:
            return
        while lines := self._records.audit_after(int(self._records.meta(self._place) or 0), _LINES):
            self._audit.mkdir(mode=0o700, parents=True, exist_ok=True)
            by_day: dict[str, list[str]] = {}
            for _, line in lines:
                by_day.setdefault(json.loads(line)["time"][:10], []).append(line)
            for day, same_day in by_day.items():
                _append(self._audit / f"audit-{day}.jsonl", "".join(f"{line}\n" for line in same_day).encode())
            with self._records.transaction():
                self._records.set_meta(self._place, str(lines[-1][0]))

    @property
    def _place(self) -> str:
        """Under which the last line that this folder has is noted."""
        return f"audited {self._audit}"


def changed_by_others(records: Records, studies: Path) -> bool:
    """Whether another program, such as an older version of the server, has written `datastore_v2.json` since."""
    exported, path = records.meta("exported"), studies / RECORDS
    return exported is not None and path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != exported


def _append(path: Path, data: bytes) -> None:
    """Only ever at the end, where the system may hold the file to it."""
    handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    with os.fdopen(handle, "r+b", buffering=0) as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":  # a line was cut short, by a full disk or a power cut
                data = b"\n" + data
        if file.write(data) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fsync(handle)
    sync_folder(path.parent)
