"""One studies folder while one process has it: records, versions, labels and scans, changed together or not at all."""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from monailabel_app import preflight
from monailabel_app.errors import StudiesAwayError
from monailabel_app.store import files, importing
from monailabel_app.store.channels import is_case
from monailabel_app.store.exports import RECORDS, Exports, changed_by_others
from monailabel_app.store.labels import FOLDER as LABELS
from monailabel_app.store.labels import PUBLISH, REMOVE, Check, LabelFiles, printable
from monailabel_app.store.records import FILE, SAVED, CurrentLabel, Records, Version
from monailabel_app.store.versions import FOLDER, VersionFiles
from uncertaintyseg.data.channels import files_of_channels
from uncertaintyseg.errors import InputError, StorageError, UncertaintySegError

logger = logging.getLogger(__name__)

_TOLD = 100  # files that are not served, in the log at once

Note = Callable[[Version], None]
Find = Callable[[Records], tuple[dict[str, tuple[str, dict[str, Any]]], dict[str, str]]]
"""Gets the records and returns the scans, each with its file (below the folder) and what is noted of a new one; and
what is skipped."""


class Studies:
    """Takes a folder for this process until `close`.

    Args:
        folder: It.
        lock: Held while something changes.
        find: Lists the scans.
        check: Whether a file is a label of an image.
        say: Told what had to be repaired, one sentence each.
        audit: Folder that the audit trail is exported to; None for none.
        keep_versions: How many versions of a label are kept; 0 for all.

    Raises:
        InputError: The folder cannot be used, see `monailabel_app.preflight`.
    """

    def __init__(
        self,
        folder: Path,
        lock: threading.RLock,
        find: Find,
        check: Check,
        say: Callable[[str], None],
        *,
        audit: Path | None = None,
        keep_versions: int = 0,
    ) -> None:
        self._ownership = preflight.lock_studies(folder)
        self.folder, self._find, self._say, self._keep = folder, find, say, keep_versions
        self.skipped: dict[str, str] = {}
        self.present: set[str] = set()
        try:
            if unfinished := files.remove_unfinished(folder):
                say(f"removed {len(unfinished)} file(s) of writes that were cut short: {', '.join(unfinished)}")
            self.records = _open_records(folder / FILE, lock, say)
            self.versions = VersionFiles(folder / FOLDER)
            self._import()
            self.labels = LabelFiles(folder, self.records, self.versions, check, say)
            self._finish()
            self.exports = Exports(self.records, folder, audit)
        except BaseException:
            with contextlib.suppress(AttributeError):  # it may not have come so far
                self.records.close()
            self._ownership.release()
            raise

    def close(self) -> None:
        """Export what is left and let others have the folder."""
        self.exports.close()
        self.records.close()
        self._ownership.release()

    def abandon(self) -> None:
        """Do without a folder that is away; waits for nothing."""
        self.exports.abandon()
        self.records.close()
        self._ownership.release()

    def _import(self) -> None:
        if self.records.meta("begun") is None:
            with self.records.transaction():
                importing.import_records(self.records, self.folder, self.versions, self._say)
                self.records.set_meta("begun", str(time.time()))
        elif changed_by_others(self.records, self.folder):
            self._say(
                f"{RECORDS} was written by another program since; it is an export and is not read. docs/deployment.md "
                "says how to go back to an older version and forth again"
            )

    def _finish(self) -> None:
        """Do what a crash left undone."""
        for number, wanted in self.records.outbox(REMOVE):
            self._remove(number, self.folder / wanted["path"])
        self.labels.publish_waiting()

    def refresh(self) -> None:
        """Take up what changed in the folder. A scan that is away keeps its records."""
        self._finish()
        while True:
            before = self.records.scans
            scans, skipped = self._find(self.records)  # takes its time where there are many, so nobody waits for it
            with self.records.lock:
                if before == self.records.scans:
                    self._take_up(scans)
                    break
        found = skipped | self.labels.look(set(scans))
        found = {printable(name): reason for name, reason in found.items()}
        for name in sorted(found.keys() - self.skipped.keys())[:_TOLD]:
            logger.warning("%s is not served: %s", name, found[name])
        self.skipped = found

    def _take_up(self, scans: dict[str, tuple[str, dict[str, Any]]]) -> None:
        known = self.records.images()
        changed = {image: file for image, (file, _) in scans.items() if known.get(image, ("",))[0] != file}
        if changed:
            with self.records.transaction():
                for image, file in changed.items():
                    new = {**scans[image][1], "ts": int(time.time()), "name": Path(file).name}
                    self.records.put_image(
                        image, file, {**known[image][1], "name": new["name"]} if image in known else new
                    )
        gone = sorted(set(known) - set(scans) - (set(known) - self.present))
        if gone:
            self._say(f"the scans of {', '.join(gone[:20])} are away; their labels and notes are kept")
        self.present = set(scans)

    def save_label(
        self, image: str, tag: str, data: bytes, suffix: str, info: dict[str, Any], note: Note, *,
        made_by: str = "", seconds: float | None = None, source: str = SAVED, current: bool = True,
    ) -> Version:  # fmt: skip
        """Keep a label as a new version, by default the one that counts.

        Args:
            image: Case.
            tag: Which of its labels.
            data: The file.
            suffix: Of the file.
            info: What is noted of it.
            note: Told of the version in the same transaction; whatever it raises undoes everything.
            made_by: Who made it.
            seconds: How long it took.
            source: See `Version`.
            current: Whether it counts from now on.

        Raises:
            StorageError: The disk is full; nothing was changed.
        """
        self.check_here()
        file = self.versions.keep(data, suffix)
        try:
            with self.records.transaction():
                self.versions.keep(data, suffix)  # another save of the same, undone meanwhile, may have taken it away
                made = {"made_by": made_by, "seconds": seconds, "source": source}
                version = self.records.add_version(image, tag, file, info, **made)
                if current:
                    self.records.set_label(version, info)
                    self.labels.post(image, tag)
                self._prune(image, tag)
                note(version)
        except BaseException:
            self._drop_file(*file[:2])
            raise
        return version

    def remove_label(self, image: str, tag: str) -> None:
        """Let no version of a label count; all of them stay."""
        with self.records.transaction():
            label = self.records.label(image, tag)
            path = self.labels.path(label.version)
            self.labels.rescue(path, image, tag)
            self.records.delete_label(image, tag)
            self._post_removal(path)

    def add_image(
        self, image: str, sources: Mapping[str, Path], info: dict[str, Any], note: Callable[[], None]
    ) -> None:
        """Take a copy of a scan into the folder; `note` is called in the same transaction. Raises as `save_label`.

        Args:
            image: Its id.
            sources: Its file, or that of each channel, the first one first, by the name that it gets.
            info: What is noted of it.
            note: See above.
        """
        self.check_here()
        paths = [self.folder / name for name in sources]
        with contextlib.ExitStack() as stack:
            staged = []
            for path, source in zip(paths, sources.values(), strict=True):
                with _told(path):
                    staged.append(files.stage(source, self.folder))
                stack.callback(_forget, staged[-1])
            with self.records.lock:
                for path in paths:
                    if path.exists() or path.is_symlink():
                        raise InputError(f"there is a file {path.name} already; choose another id")
                with contextlib.ExitStack() as undo:
                    for path, copy in zip(paths, staged, strict=True):
                        undo.callback(_forget, path)
                        with _told(path):
                            files.settle(copy, path)
                    with self.records.transaction():
                        name = paths[0].name
                        self.records.put_image(image, name, {**info, "ts": int(time.time()), "name": name})
                        note()
                    undo.pop_all()
                self.present.add(image)

    def remove_image(self, image: str) -> None:
        """Remove a scan, its labels and all their versions."""
        with self.records.transaction():
            file, _ = self.records.image(image)
            first = self.folder / file
            channels = files_of_channels(first) if is_case(image, file) else [first]
            scan = [part for channel in channels for part in files.files_of_scan(channel)]
            paths = [*scan, *(self.labels.path(label.version) for label in self.records.labels(image))]
            contents = {(version.sha256, version.suffix) for version in self.records.versions(image)}
            self.records.delete_image(image)
            for path in paths:
                self._post_removal(path)
            for sha256, suffix in contents:
                if not self.records.is_wanted(sha256):
                    self._post_removal(self.versions.path(sha256, suffix))
            self.records.after_commit(lambda: self.present.discard(image))

    def file_of(self, label: CurrentLabel) -> Path:
        """The file of a label: in `labels/`, or the version's own while that one waits to be written."""
        path, version = self.labels.path(label.version), label.version
        waits = any(
            (wanted["image"], wanted["tag"]) == (version.image, version.tag)
            for _, wanted in self.records.outbox(PUBLISH)
        )
        return self.versions.path(version.sha256, version.suffix) if waits or not path.is_file() else path

    def check_here(self) -> None:
        """Raise `StudiesAwayError` unless the folder is where it was."""
        if not self.records.is_here():
            raise StudiesAwayError

    def _prune(self, image: str, tag: str) -> None:
        if self._keep:
            counts = self.records.label(image, tag)
            for version in self.records.versions(image, tag)[: -self._keep]:
                if counts is None or version.id != counts.version.id:
                    self.records.delete_version(version.id)
                    if not self.records.is_wanted(version.sha256):
                        self._post_removal(self.versions.path(version.sha256, version.suffix))

    def _drop_file(self, sha256: str, suffix: str) -> None:
        """Remove the file of a version that has not come to be; it takes room only, should this fail as well."""
        with contextlib.suppress(UncertaintySegError, OSError), self.records.lock:
            if not self.records.is_wanted(sha256):
                self.versions.path(sha256, suffix).unlink(missing_ok=True)

    def _post_removal(self, path: Path) -> None:
        number = self.records.post(REMOVE, {"path": path.relative_to(self.folder).as_posix()})
        self.records.after_commit(lambda: self._remove(number, path))

    def _remove(self, number: int, path: Path) -> None:
        """Remove a file that no record speaks of any more; what cannot be removed waits for the next look."""
        try:
            with self.records.transaction():
                if not self._is_spoken_of(path):
                    files.remove(path)
                self.records.done(number)
        except (OSError, UncertaintySegError) as error:
            logger.warning("%s is still to be removed: %s", path.name, error)

    def _is_spoken_of(self, path: Path) -> bool:
        """Whether a file that was to be removed has come back to use; what a person put there instead is kept."""
        folder = path.relative_to(self.folder).parts[0]
        if folder == FOLDER:
            return self.records.is_wanted(path.name.split(".", 1)[0])
        if folder == LABELS and path.parent.parent.name == LABELS:
            return self.labels.counts(path)
        return path.relative_to(self.folder).as_posix() in {file for file, _ in self.records.images().values()}


def _forget(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _open_records(path: Path, lock: threading.RLock, say: Callable[[str], None]) -> Records:
    try:
        return Records(path, lock)
    except sqlite3.DatabaseError:
        stamp = files.stamp()
        for suffix in ("", "-wal"):
            damaged = path.with_name(f"{path.name}{suffix}")
            if damaged.exists():
                damaged.rename(path.with_name(f"{path.name}.corrupt-{stamp}{suffix}"))
        say(f"{path.name} was damaged and is kept as {path.name}.corrupt-{stamp}; see what follows, and a backup")
        return Records(path, lock)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """Turn what a disk answers into what a user can do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageError(
                f"{path.name}: the disk is full, so nothing was changed. Make room and try again"
            ) from error
        raise InputError(f"{path.name}: cannot be written ({error.strerror})") from error
