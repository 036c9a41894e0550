"""The records of one studies folder in one SQLite file: images, labels, their versions, the audit trail, the outbox."""

from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monailabel_app.store import strict
from monailabel_app.store.database import Database

FILE = "studies.sqlite"
SAVED, RESTORED = "saved", "restored "
"""Sources of versions; behind the second stands the number of another one."""
FORMAT = 1
"""Of the tables; older ones would be brought up here."""
_TABLES = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE images (id TEXT PRIMARY KEY, file TEXT NOT NULL, info TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE versions (
    id INTEGER PRIMARY KEY AUTOINCREMENT, image TEXT NOT NULL, tag TEXT NOT NULL, sha256 TEXT NOT NULL,
    suffix TEXT NOT NULL, bytes INTEGER NOT NULL, made_by TEXT NOT NULL, source TEXT NOT NULL, time REAL NOT NULL,
    seconds REAL, info TEXT NOT NULL
);
CREATE INDEX versions_of ON versions (image, tag);
CREATE INDEX versions_with ON versions (sha256);
CREATE TABLE labels (
    image TEXT NOT NULL, tag TEXT NOT NULL, version INTEGER NOT NULL, info TEXT NOT NULL, size INTEGER,
    mtime_ns INTEGER, PRIMARY KEY (image, tag)
) WITHOUT ROWID;
CREATE TABLE audit (id INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL);
CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, payload TEXT NOT NULL);
"""


@dataclass(frozen=True)
class Version:
    """One state of a label, kept for good.

    Attributes:
        id: Number that is never given again.
        image: Case.
        tag: Which of its labels.
        sha256: Of its file, and the file's name in `versions/`.
        suffix: Of its file.
        bytes: Of its file.
        made_by: Who saved it, as the log-in says; empty where nobody knows.
        source: "saved", "by hand" (found in the folder), "imported" (from older records), or "restored N".
        time: When, in seconds since 1970.
        seconds: How long it took a person; None where nobody said.
        info: What the client said of it.
    """

    id: int
    image: str
    tag: str
    sha256: str
    suffix: str
    bytes: int
    made_by: str
    source: str
    time: float
    seconds: float | None
    info: dict[str, Any]


@dataclass(frozen=True)
class CurrentLabel:
    """The version that counts, what is noted of it, and how its file in `labels/` looked when it was written."""

    version: Version
    info: dict[str, Any]
    size: int | None
    mtime_ns: int | None


class Records(Database):
    """Opens the records, making them where there are none. Args and errors are those of `Database`.

    Attributes:
        revision: Counts the changes of images, labels and versions.
        scans: Counts the changes of which images there are, and of their files.
    """

    def __init__(self, path: Path, lock: threading.RLock | None = None) -> None:
        self.revision = self.scans = 0
        self._images: dict[str, tuple[str, dict[str, Any]]] | None = None
        super().__init__(path, _TABLES, FORMAT, lock)
        if self.meta("id") is None:
            with self.transaction():
                self.set_meta("id", uuid.uuid4().hex)

    def _undone(self) -> None:
        self._images = None
        self.revision += 1

    def _change(self, sql: str, values: tuple[Any, ...]) -> sqlite3.Cursor:
        self.revision += 1
        return self._run(sql, values)

    def meta(self, key: str) -> str | None:
        """Return a fact about the folder, None where it is not known."""
        row = next(iter(self._rows("SELECT value FROM meta WHERE key = ?", (key,))), None)
        return None if row is None else row["value"]

    def set_meta(self, key: str, value: str) -> None:
        """Note a fact about the folder."""
        self._run("INSERT INTO meta VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value", (key, value))

    def images(self) -> dict[str, tuple[str, dict[str, Any]]]:
        """Return the file, relative to the folder, and what is noted of each image; the notes are to be read only."""
        with self.lock:
            if self._images is None:
                rows = self._rows("SELECT id, file, info FROM images ORDER BY id")
                self._images = {row["id"]: (row["file"], strict.read(row["info"], "info")) for row in rows}
            return dict(self._images)

    def image(self, image: str) -> tuple[str, dict[str, Any]] | None:
        """Return one of `images`, None where there is none."""
        with self.lock:
            if self._images is None:
                self.images()
            return self._images.get(image)

    def put_image(self, image: str, file: str, info: dict[str, Any]) -> None:
        """Note an image, in place of what was noted."""
        self._change(
            "INSERT INTO images VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET file = excluded.file, info = excluded.info",
            (image, file, text := strict.write(info, "info")),
        )
        if self._images is None or self._images.get(image, ("",))[0] != file:
            self.scans += 1
        if self._images is not None:
            self._images[image] = (file, strict.read(text, "info"))

    def delete_image(self, image: str) -> None:
        """Forget an image with its labels and their versions."""
        for table, key in (("labels", "image"), ("versions", "image"), ("images", "id")):
            self._change(f"DELETE FROM {table} WHERE {key} = ?", (image,))  # noqa: S608 - names of this module
        self.scans += 1
        if self._images is not None:
            self._images.pop(image, None)

    def labels(self, image: str | None = None) -> list[CurrentLabel]:
        """Return the labels that count, of one image or of all."""
        where, values = ("WHERE l.image = ?", (image,)) if image is not None else ("", ())
        columns = "l.info AS label_info, l.size, l.mtime_ns, v.*"
        rows = self._rows(f"SELECT {columns} FROM labels l JOIN versions v ON v.id = l.version {where}", values)  # noqa: S608
        return [
            CurrentLabel(_version(row), strict.read(row["label_info"], "info"), row["size"], row["mtime_ns"])
            for row in rows
        ]

    def label_tags(self) -> list[tuple[str, str]]:
        """Return image and tag of the labels that count."""
        return [(row["image"], row["tag"]) for row in self._rows("SELECT image, tag FROM labels ORDER BY image, tag")]

    def label(self, image: str, tag: str) -> CurrentLabel | None:
        """Return one of `labels`, None where there is none."""
        return next((label for label in self.labels(image) if label.version.tag == tag), None)

    def set_label(self, version: Version, info: dict[str, Any]) -> None:
        """Make a version the one that counts; its file in `labels/` is still to be written."""
        self._change(
            "INSERT INTO labels VALUES (?, ?, ?, ?, NULL, NULL) ON CONFLICT DO UPDATE SET "
            "version = excluded.version, info = excluded.info, size = NULL, mtime_ns = NULL",
            (version.image, version.tag, version.id, strict.write(info, "info")),
        )

    def set_label_info(self, image: str, tag: str, info: dict[str, Any]) -> None:
        """Note something else of a label."""
        values = (strict.write(info, "info"), image, tag)
        self._change("UPDATE labels SET info = ? WHERE image = ? AND tag = ?", values)

    def set_label_file(self, image: str, tag: str, size: int, mtime_ns: int) -> None:
        """Note how a label's file in `labels/` looks, so that another one is noticed."""
        values = (size, mtime_ns, image, tag)
        self._change("UPDATE labels SET size = ?, mtime_ns = ? WHERE image = ? AND tag = ?", values)

    def delete_label(self, image: str, tag: str) -> None:
        """Let no version of a label count; they stay."""
        self._change("DELETE FROM labels WHERE image = ? AND tag = ?", (image, tag))

    def add_version(
        self,
        image: str,
        tag: str,
        file: tuple[str, str, int],
        info: dict[str, Any],
        *,
        source: str,
        made_by: str = "",
        seconds: float | None = None,
        at: float | None = None,
    ) -> Version:
        """Note a new state of a label; `file` is SHA-256, suffix and size of it."""
        values = (image, tag, *file, made_by, source, time.time() if at is None else at, seconds)
        cursor = self._change(
            "INSERT INTO versions (image, tag, sha256, suffix, bytes, made_by, source, time, seconds, info) "
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, strict.write(info, "info")),
        )
        return self.version(cursor.lastrowid)

    def version(self, number: int) -> Version | None:
        """Return a version, None where there is none."""
        row = next(iter(self._rows("SELECT * FROM versions WHERE id = ?", (number,))), None)
        return None if row is None else _version(row)

    def versions(self, image: str | None = None, tag: str | None = None) -> list[Version]:
        """Return versions, oldest first: all, of one image, or of one of its labels."""
        asked = [(name, value) for name, value in (("image", image), ("tag", tag)) if value is not None]
        where = " AND ".join(f"{name} = ?" for name, _ in asked) or "1"
        rows = self._rows(f"SELECT * FROM versions WHERE {where} ORDER BY id", tuple(v for _, v in asked))  # noqa: S608
        return [_version(row) for row in rows]

    def was_sent(self, version: Version) -> bool:
        """Whether a version, or that which it restores, was saved through the server, so that it holds class ids."""
        known: Version | None = version
        while known is not None and known.source.startswith(RESTORED):
            known = self.version(int(known.source.removeprefix(RESTORED)))
        return known is not None and known.source == SAVED

    def set_version_info(self, number: int, info: dict[str, Any]) -> None:
        """Note something else of a version."""
        self._change("UPDATE versions SET info = ? WHERE id = ?", (strict.write(info, "info"), number))

    def delete_version(self, number: int) -> None:
        """Forget a version."""
        self._change("DELETE FROM versions WHERE id = ?", (number,))

    def is_wanted(self, sha256: str) -> bool:
        """Whether any version has a file with this checksum."""
        return bool(self._rows("SELECT 1 FROM versions WHERE sha256 = ? LIMIT 1", (sha256,)))

    def append_audit(self, entry: dict[str, Any]) -> None:
        """Add a line to the audit trail; nothing here changes or removes one."""
        self._run("INSERT INTO audit (entry) VALUES (?)", (strict.write(entry, "audit"),))

    def audit_after(self, number: int, count: int) -> list[tuple[int, str]]:
        """Return lines of the audit trail behind one, oldest first, with their numbers."""
        rows = self._rows("SELECT id, entry FROM audit WHERE id > ? ORDER BY id LIMIT ?", (number, count))
        return [(row["id"], row["entry"]) for row in rows]

    def last_audit(self, count: int) -> list[dict[str, Any]]:
        """Return the newest lines of the audit trail, newest first."""
        rows = self._rows("SELECT entry FROM audit ORDER BY id DESC LIMIT ?", (count,))
        return [strict.read(row["entry"], "audit") for row in rows]

    def post(self, kind: str, payload: dict[str, Any]) -> int:
        """Note what is still to be done once this transaction is kept; returns its number for `done`."""
        cursor = self._run("INSERT INTO outbox (kind, payload) VALUES (?, ?)", (kind, strict.write(payload, "outbox")))
        return cursor.lastrowid

    def outbox(self, kind: str) -> list[tuple[int, dict[str, Any]]]:
        """Return what is still to be done, oldest first."""
        rows = self._rows("SELECT id, payload FROM outbox WHERE kind = ? ORDER BY id", (kind,))
        return [(row["id"], strict.read(row["payload"], "outbox")) for row in rows]

    def done(self, number: int) -> None:
        """Strike something off the outbox."""
        self._run("DELETE FROM outbox WHERE id = ?", (number,))


def _version(row: sqlite3.Row) -> Version:
    fields = {name: row[name] for name in Version.__dataclass_fields__}
    return Version(**{**fields, "info": strict.read(row["info"], "info")})
