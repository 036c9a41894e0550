"""One SQLite file that one process has: transactions that are on the disk before they return.

One connection; `locking_mode=EXCLUSIVE` before WAL, so that no memory is shared and any disk will do.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from monailabel_app.errors import StudiesAwayError
from uncertaintyseg.errors import InputError, StorageError

_MAGIC = b"SQLite format 3\0"


class Database:
    """Opens the file, making it where there is none.

    Args:
        path: Of the file.
        tables: What a new one has, as SQL.
        version: Of the tables; a file of a newer one is refused.
        lock: Held during a transaction; one of its own by default.

    Raises:
        InputError: Another process has it, it is of a newer version, or it cannot be made.
        sqlite3.DatabaseError: It is damaged.
    """

    def __init__(self, path: Path, tables: str, version: int, lock: threading.RLock | None = None) -> None:
        self.path = path
        self.lock = lock or threading.RLock()
        self._depth = 0
        self._after: list[Callable[[], None]] = []
        self._listeners: list[Callable[[], None]] = []
        if path.is_file() and path.stat().st_size and not _is_whole(path):
            raise sqlite3.DatabaseError("damaged")  # which SQLite may not notice
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA locking_mode=EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self.identity = _identity(path)
            self._make(tables, version)
        except sqlite3.OperationalError as error:
            self.close()
            raise _mendable(error, path) from error
        except BaseException:
            self.close()
            raise

    def _make(self, tables: str, version: int) -> None:
        found = self._db.execute("PRAGMA user_version").fetchone()[0]
        if found > version:
            raise InputError(f"{self.path.name}: written by a newer version of the server; install that one")
        if self._db.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("damaged")
        if found == 0:
            self._db.executescript(f"BEGIN;{tables}PRAGMA user_version={version};COMMIT;")

    def close(self) -> None:
        """Give the file up. It is whole at any moment; this spares the next start the log of the last transactions."""
        with self.lock, contextlib.suppress(sqlite3.Error):
            self._db.close()

    def is_here(self) -> bool:
        """Whether the file that was opened still lies where it did."""
        return _identity(self.path) == self.identity

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call a listener after each transaction."""
        self._listeners.append(listener)

    def after_commit(self, step: Callable[[], None]) -> None:
        """Do a step once the transaction at hand is on the disk, before others begin; not at all if it fails."""
        self._after.append(step)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what is done inside, or nothing. One inside another is kept or dropped with it.

        Raises:
            StudiesAwayError: The file is not where it was.
            StorageError: The disk is full; nothing was changed.
        """
        with self.lock:
            if self._depth:
                yield from self._inner()
            else:
                yield from self._outer()

    def _outer(self) -> Iterator[None]:
        if not self.is_here():
            raise StudiesAwayError
        self._after.clear()
        self._run("BEGIN IMMEDIATE")
        self._depth = 1
        try:
            yield
            self._run("COMMIT")
        except BaseException:
            self._after.clear()
            self._undone()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute("ROLLBACK")
            raise
        finally:
            self._depth = 0
            for listener in self._listeners:
                listener()
        steps, self._after = self._after, []
        for step in steps:
            step()

    def _inner(self) -> Iterator[None]:
        self._depth += 1
        name, steps = f"part{self._depth}", len(self._after)
        self._run(f"SAVEPOINT {name}")
        try:
            yield
            self._run(f"RELEASE {name}")
        except BaseException:
            del self._after[steps:]
            self._undone()
            with contextlib.suppress(sqlite3.Error):
                self._db.execute(f"ROLLBACK TO {name}")
                self._db.execute(f"RELEASE {name}")
            raise
        finally:
            self._depth -= 1

    def _undone(self) -> None:
        """Called when changes are taken back: what was read meanwhile is true no longer."""

    def _run(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            with self.lock:
                return self._db.execute(sql, values)
        except sqlite3.OperationalError as error:
            raise _mendable(error, self.path) from error

    def _rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        """What a question is answered with, whole, before others change anything."""
        with self.lock:
            return self._run(sql, values).fetchall()

    def copy_to(self, path: Path) -> None:
        """Write a copy as it is now, while others go on. Raises `StorageError` when the disk is full."""
        with contextlib.closing(sqlite3.connect(path)) as copy:
            try:
                with self.lock:
                    self._db.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # one file, with nothing beside it
            except sqlite3.OperationalError as error:
                raise _mendable(error, path) from error


def _is_whole(path: Path) -> bool:
    """Whether a file begins like one of SQLite and, where no log goes with it, ends with a page."""
    with path.open("rb") as file:
        head = file.read(len(_MAGIC) + 2)
    page = int.from_bytes(head[len(_MAGIC) :], "big")
    page = 2**16 if page == 1 else page
    has_log = path.with_name(f"{path.name}-wal").exists()
    return head.startswith(_MAGIC) and page > 0 and (has_log or path.stat().st_size % page == 0)


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _mendable(error: sqlite3.OperationalError, path: Path) -> Exception:
    """What a user can do about an error of SQLite."""
    reason = str(error)
    if "locked" in reason:
        return InputError(f"{path.name}: another server process has it open; one server runs as one process")
    if "full" in reason or "disk I/O" in reason:
        return StorageError(f"{path.name}: the disk is full, so nothing was changed. Make room and try again.")
    if "readonly" in reason or "unable to open" in reason:
        return InputError(f"{path.name}: cannot be written ({reason}): see to the folder's permissions")
    return error
