"""Asking the worker, and waiting for what it brings."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from UncertaintySegLib.server.worker_client import WorkerClient


class Asker:
    """Asks requests of one server and keeps what comes of them, by ticket."""

    def __init__(self, worker: WorkerClient, url: str, folder: Path) -> None:
        self.worker = worker
        self.common = {"server": {"url": url, "token": ""}, "folder": str(folder)}
        self.ends: dict[int, Any] = {}
        self.progress: list[tuple[str, float, float | None]] = []

    def start(self, name: str, **arguments: Any) -> int:
        """Ask, and return the ticket."""
        ticket = self.worker.call(
            name,
            {**self.common, **arguments},
            done=lambda answer: self.ends.setdefault(ticket, answer),
            failed=lambda error: self.ends.setdefault(ticket, error),
            progress=lambda *state: self.progress.append(state),
        )
        return ticket

    def wait(self, condition, seconds: float = 180.0) -> None:
        """Pump until a condition holds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "nothing happened in time"
            self.worker.pump()
            time.sleep(0.005)

    def end(self, ticket: int) -> Any:
        """Wait for the answer or the error of a ticket."""
        self.wait(lambda: ticket in self.ends)
        return self.ends[ticket]

    def ask(self, name: str, **arguments: Any) -> dict[str, Any]:
        """Ask, wait and return the answer; an error is raised."""
        end = self.end(self.start(name, **arguments))
        if isinstance(end, Exception):
            raise end
        return end


@pytest.fixture
def worker():
    worker = WorkerClient()
    yield worker
    worker.close()


@pytest.fixture
def asker(worker, wire_server, tmp_path) -> Asker:
    return Asker(worker, wire_server.url, tmp_path / "downloads")
