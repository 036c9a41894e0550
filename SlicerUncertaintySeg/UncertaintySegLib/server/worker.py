"""The main loop of the child process that talks to the server for Slicer; see `worker_client` for why and how.

    python worker.py FOLDER < requests

A line of the input is `{"ticket", "name", "arguments"}` or `{"cancel": ticket}`. To FOLDER/answers.jsonl goes
`{"ticket", "stage", "fraction", "eta_s"}` while a request runs, and `{"ticket", "answer"}` or `{"ticket", "error"}` at
its end. It needs the standard library only.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any, BinaryIO

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])  # not this folder, whose names are not top-level modules

from UncertaintySegLib.errors import Cancelled, UncertaintySegError
from UncertaintySegLib.server.request import Request
from UncertaintySegLib.server.requests import LAST, REQUESTS

_REPORT_SECONDS = 0.05
_LAST_SECONDS = 2.0


class Worker:
    """Serves any number of requests at once, each in a thread: here no interpreter lock is withheld.

    Args:
        answers: File to append answers to.
    """

    def __init__(self, answers: BinaryIO) -> None:
        self._answers = answers
        self._lock = threading.Lock()
        self._requests: dict[int, Request] = {}
        self._last: set[int] = set()

    def serve(self, requests: BinaryIO) -> None:
        """Handle requests until the input ends; stop then what still runs, on the server too, less the last things."""
        for line in requests:
            request = json.loads(line)
            if "cancel" in request:
                self._stop(request["cancel"])
            else:
                self._begin(**request)
        for ticket in self._requests.keys() - self._last:
            self._stop(ticket)
        deadline = time.monotonic() + _LAST_SECONDS
        while self._requests and time.monotonic() < deadline:
            time.sleep(0.02)

    def _begin(self, ticket: int, name: str, arguments: dict[str, Any]) -> None:
        server, folder = arguments.pop("server"), Path(arguments.pop("folder"))
        try:
            request = Request(**server, folder=folder, report=_Reports(self._write, ticket))
        except UncertaintySegError as error:
            self._write({"ticket": ticket, "error": _describe(error)})
            return
        self._requests[ticket] = request
        if name in LAST:
            self._last.add(ticket)
        threading.Thread(target=self._run, args=(ticket, request, name, arguments), daemon=True).start()

    def _stop(self, ticket: int) -> None:
        request = self._requests.get(ticket)
        if request is not None:
            request.stop()

    def _run(self, ticket: int, request: Request, name: str, arguments: dict[str, Any]) -> None:
        try:
            end = {"answer": request.do(REQUESTS[name], arguments)}
        except Exception as error:  # noqa: BLE001 - a bug must reach the status line, not die with its thread
            end = {"error": _describe(error)}
        self._requests.pop(ticket, None)
        self._write({"ticket": ticket, **end})
        request.tidy()

    def _write(self, message: dict[str, Any]) -> None:
        with self._lock:
            self._answers.write(json.dumps(message).encode() + b"\n")
            self._answers.flush()


class _Reports:
    """Passes on progress, but not more often than somebody can read it."""

    def __init__(self, write: Any, ticket: int) -> None:
        self._write, self._ticket = write, ticket
        self._last: tuple[str, float] = ("", -1.0)

    def __call__(self, stage: str, fraction: float, eta_s: float | None) -> None:
        now = time.monotonic()
        if stage == self._last[0] and now - self._last[1] < _REPORT_SECONDS:
            return
        self._last = (stage, now)
        self._write({"ticket": self._ticket, "stage": stage, "fraction": fraction, "eta_s": eta_s})


def _describe(error: Exception) -> dict[str, Any]:
    """Return an error as `worker_client` expects it."""
    if isinstance(error, Cancelled):
        return {"kind": "cancelled", "message": "Cancelled."}
    if isinstance(error, (UncertaintySegError, OSError)):  # a file of ours cannot be read, say
        known = {"status": getattr(error, "status", None), "field": getattr(error, "field", "")}
        return {"kind": "server", "message": str(error), **known}
    details = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    return {"kind": "bug", "message": f"{type(error).__name__}: {error}", "details": details}


def main(folder: Path) -> None:
    """Serve the standard input, and leave nothing behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C in Slicer's console: the end of the input follows
    with (folder / "answers.jsonl").open("ab") as answers:
        Worker(answers).serve(sys.stdin.buffer)
    shutil.rmtree(folder, ignore_errors=True)  # Slicer does it too, unless it has crashed
    os._exit(0)  # threads may still wait for a server that does not answer


if __name__ == "__main__":
    main(Path(sys.argv[1]))
