"""Looks at the studies folder again soon after files in it have changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserver

from monailabel_app.store.exports import RECORDS
from monailabel_app.store.records import FILE
from monailabel_app.store.versions import FOLDER
from uncertaintyseg.errors import UncertaintySegError

logger = logging.getLogger(__name__)

_QUIET_SECONDS = 0.2  # so that many changes at once make one look


class Watch(FileSystemEventHandler):
    """Calls `refresh`, in a thread, until `close`.

    Args:
        folder: The studies.
        refresh: Looks at them.
    """

    def __init__(self, folder: Path, refresh: Callable[[], None]) -> None:
        self._folder, self._refresh = folder, refresh
        self._changed, self._over = threading.Event(), threading.Event()
        self._observer = self._started(PollingObserver if _is_mounted(folder) else Observer)
        threading.Thread(target=self._follow, name="watch", daemon=True).start()

    def _started(self, kind: type[BaseObserver]) -> BaseObserver:
        observer = kind()
        observer.schedule(self, str(self._folder), recursive=True)
        try:
            observer.start()
        except OSError:  # the system watches no more folders
            return self._started(PollingObserver)
        return observer

    def on_any_event(self, event: FileSystemEvent) -> None:
        """Note a change of anything but what the server writes for itself."""
        if event.event_type in ("created", "deleted", "modified", "moved") and not (
            event.is_directory and event.event_type == "modified"
        ):
            paths = [path for path in (event.src_path, getattr(event, "dest_path", "")) if path]
            if any(self._counts(Path(str(path))) for path in paths):
                self._changed.set()

    def close(self) -> None:
        """Look no more."""
        self._over.set()
        self._changed.set()
        self._observer.stop()

    def _counts(self, path: Path) -> bool:
        name = path.name
        return not (name.startswith((".", FILE, RECORDS)) or FOLDER in (path.parent.name, name))

    def _follow(self) -> None:
        while not self._over.is_set():
            self._changed.wait()
            self._over.wait(_QUIET_SECONDS)
            self._changed.clear()
            if not self._over.is_set():
                try:
                    self._refresh()
                except UncertaintySegError as error:
                    logger.warning("%s: %s", self._folder, error)
                except Exception:  # the next look may go well
                    logger.exception("looking at %s", self._folder)


def _is_mounted(folder: Path) -> bool:
    """Whether the folder lies below a mount point other than the root, whose changes the system may not tell of."""
    folder = folder.resolve()
    return any(parent.is_mount() for parent in (folder, *folder.parents) if parent != Path(parent.anchor))
