"""The wire server in a process of its own: threads of the tests' process stand still while the host's Slicer idles."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.managers import DictProxy, ListProxy, SyncManager
from pathlib import Path
from typing import Any

from Testing.Python.SlicerUncertaintySeg.wire_server import Wire

_PLAIN = ("job_states", "job_result", "info", "names", "remaining", "scored", "lease", "archived")


class _Remote:
    """What the tests may ask of a `Wire` over the process border."""

    def __init__(self, case: dict[str, str], labels: list[dict]) -> None:
        self._wire = Wire(case, labels)

    def url(self) -> str:
        return self._wire.url

    def get(self, name: str) -> Any:
        return getattr(self._wire, name)

    def set(self, name: str, value: Any) -> None:
        setattr(self._wire, name, value)

    def shared_dict(self, name: str) -> dict:
        return getattr(self._wire, name)

    def shared_list(self, name: str) -> list:
        return getattr(self._wire, name)

    def replace(self, what: str, path: str) -> None:
        self._wire.case[what] = Path(path)

    def open(self) -> None:
        self._wire.open()

    def close(self) -> None:
        self._wire.close()


class _Manager(SyncManager):
    pass


_Manager.register("SharedDict", callable=None, proxytype=DictProxy)
_Manager.register("SharedList", callable=None, proxytype=ListProxy)
_Manager.register("Remote", _Remote, method_to_typeid={"shared_dict": "SharedDict", "shared_list": "SharedList"})


class WireServer:
    """A `Wire` that answers elsewhere; its attributes can be read and set, its dictionaries changed, from here.

    Args:
        manager: Of the process that it is in.
        case: A `CaseFiles`.
    """

    def __init__(self, manager: _Manager, case: Any) -> None:
        files = {key: str(getattr(case, key)) for key in ("name", "scan", "label", "risk")}
        self._remote = manager.Remote(files, [vars(label) for label in case.labels])
        self.case = case
        self.url = self._remote.url()
        for name in ("drops", "truncations", "delays", "refusals"):
            setattr(self, name, self._remote.shared_dict(name))
        for name in ("requests", "uploads", "bodies"):
            setattr(self, name, self._remote.shared_list(name))

    def __getattr__(self, name: str) -> Any:
        if name not in _PLAIN:
            raise AttributeError(name)
        return self._remote.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _PLAIN:
            self._remote.set(name, value)
        else:
            object.__setattr__(self, name, value)

    def count(self, method: str, start: str) -> int:
        """Return how many requests there were to paths with this start."""
        return sum(m == method and p.startswith(start) for m, p, _ in list(self.requests))

    def replace(self, what: str, path: Path) -> None:
        """Send another file as the "scan", the "label" or the "risk" of all results."""
        self._remote.replace(what, str(path))

    def open(self) -> None:
        """Answer again after `close`."""
        self._remote.open()

    def close(self) -> None:
        """Answer no more."""
        self._remote.close()


def _end_with_the_tests() -> None:
    """Leave nothing behind where the tests' process dies: whoever reads their output would wait for its end."""

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


@contextmanager
def process() -> Iterator[_Manager]:
    """A process for wire servers, while the block runs."""
    manager = _Manager(ctx=multiprocessing.get_context("spawn"))
    manager.start(_end_with_the_tests)
    try:
        yield manager
    finally:
        manager.shutdown()
