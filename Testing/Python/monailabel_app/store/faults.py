"""A disk that fails, or a process that dies, at the n-th thing that a write asks of the system."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

from monailabel_app.app.datastore import StudyDatastore

_CALLS = ((os, "fsync"), (os, "replace"), (Path, "replace"), (Path, "open"), (Path, "mkdir"), (Path, "unlink"))
_CLEANING_UP = ("ROLLBACK", "RELEASE", "SELECT", "PRAGMA")


class Faults:
    """Counts the calls and lets one go wrong.

    Attributes:
        seen: How many there were.
    """

    def __init__(self, at: int, wrong: Callable[[str], None]) -> None:
        self.seen, self._at, self._wrong = 0, at, wrong

    def step(self, name: str) -> None:
        self.seen += 1
        if self.seen == self._at:
            self._wrong(name)

    @property
    def happened(self) -> bool:
        return self.seen >= self._at


class _Database:
    """A connection whose statements are steps as well."""

    def __init__(self, database: sqlite3.Connection, faults: Faults) -> None:
        self._database, self._faults = database, faults

    def execute(self, sql: str, values: tuple = ()) -> sqlite3.Cursor:
        if not sql.startswith(_CLEANING_UP):
            self._faults.step(sql)
        return self._database.execute(sql, values)

    def __getattr__(self, name: str) -> object:
        return getattr(self._database, name)


def full(name: str) -> None:
    """The disk is full."""
    if name.isupper() or name.split(maxsplit=1)[0].isupper():
        raise sqlite3.OperationalError("database or disk is full")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def killed(_name: str) -> None:
    """The process is gone, with nothing tidied up."""
    os._exit(9)


@contextmanager
def faulty(datastore: StudyDatastore, at: int, wrong: Callable[[str], None]) -> Iterator[Faults]:
    """Let the `at`-th call of a datastore's writes go wrong."""
    faults = Faults(at, wrong)

    def step(original: Callable, name: str) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            if name != "open" or {"w", "x", "a"} & set(str(args[1:2])):
                faults.step(name)
            return original(*args, **kwargs)

        return call

    records = datastore.store
    whole = records._db
    patches = [mock.patch.object(owner, name, step(getattr(owner, name), name)) for owner, name in _CALLS]
    records._db = _Database(whole, faults)
    for patch in patches:
        patch.start()
    try:
        yield faults
    finally:
        for patch in patches:
            patch.stop()
        records._db = whole
