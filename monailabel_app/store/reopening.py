"""A studies folder that may go away for a while: a share that is not mounted, a folder that is renamed."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from monailabel_app.errors import StudiesAwayError
from monailabel_app.store.known import KnownStudies
from monailabel_app.store.labels import Check
from monailabel_app.store.records import FILE
from monailabel_app.store.studies import Find, Studies
from monailabel_app.store.watch import Watch

logger = logging.getLogger(__name__)

_WAY_BACK = "put the right one back, or restart the server to serve this one"


class ReopenedStudies:
    """Opens the folder, and opens it again whenever it has come back.

    Args:
        folder: It.
        lock: Held while something changes.
        find: Lists the scans.
        check: Whether a file is a label of a scan.
        auto_reload: Whether to look at the folder by itself when files in it change.
        known: Folders that were served before; None looks none up.
        new: Whether records may begin anew in a folder that had some.
        kept: `audit` and `keep_versions` of `Studies`.

    Attributes:
        repaired: What the start, and any later look at the folder, had to repair; one sentence each.

    Raises:
        InputError: The folder cannot be used, see `monailabel_app.preflight`.
    """

    def __init__(
        self,
        folder: Path,
        lock: threading.RLock,
        find: Find,
        check: Check,
        *,
        auto_reload: bool,
        known: KnownStudies | None,
        new: bool,
        **kept: Path | int | None,
    ) -> None:
        self._folder, self._lock, self._find, self._check = folder, lock, find, check
        self._auto_reload, self._known, self._new, self._kept = auto_reload, known, new, kept
        self.repaired: list[str] = []
        self._open: Studies | None = None
        self._watch: Watch | None = None
        self._id: str | None = None
        self._over = False
        try:
            self.now()
        except StudiesAwayError as error:
            logger.warning("%s: %s", folder, error)

    def now(self) -> Studies:
        """Return the open folder. Raises `StudiesAwayError` while it is away."""
        with self._lock:
            if self._open is not None and self._open.records.is_here():
                return self._open
            if (gone := self._let_go()) is not None:
                gone.abandon()
            if self._over:
                raise StudiesAwayError("the server is stopping")
            if not self._new and self._is_away():
                raise StudiesAwayError
            self._open = self._opened()
            self._new = False
            return self._open

    def close(self) -> None:
        """Let others have the folder, for good."""
        with self._lock:
            self._over = True
            studies = self._let_go()
        if studies is not None:
            studies.close()  # waits for the exports, which wait for the lock

    def _is_away(self) -> bool:
        """Whether the folder was served before, now or by an earlier server, and its records are not there."""
        if self._id is not None and not (self._folder / FILE).is_file():
            return True
        return self._known is not None and self._known.is_away(self._folder)

    def _opened(self) -> Studies:
        studies = Studies(self._folder, self._lock, self._find, self._check, self._say, **self._kept)
        found = studies.records.meta("id")
        if found != (self._id or found):
            studies.abandon()
            raise StudiesAwayError(f"another folder is where {self._folder.name} was: {_WAY_BACK}")
        try:
            studies.refresh()
        except BaseException:
            studies.abandon()
            raise
        self._id = found
        if self._known is not None:
            self._known.note(self._folder, found)
        if self._auto_reload:
            self._watch = Watch(self._folder, studies.refresh)
        return studies

    def _let_go(self) -> Studies | None:
        if self._watch is not None:
            self._watch.close()
        studies, self._watch, self._open = self._open, None, None
        return studies

    def _say(self, repair_made: str) -> None:
        self.repaired.append(repair_made)
        logger.warning("studies folder: %s", repair_made)
