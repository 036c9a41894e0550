"""Has requests done in a child process, and brings the answers back without ever making Slicer wait.

Python threads stand still while Slicer idles (PythonQt keeps the interpreter lock), so the network, archives and
checksums belong to a process of their own, `worker.py`. It reads requests, one JSON object a line, from its standard
input: the token then is in no command line and no environment. It appends its answers to a file in a private folder,
which is what a timer can read on every system without blocking and without a thread; pipes cannot do that on Windows.
It ends when its input is closed, so it does not outlive Slicer, however Slicer ended.
"""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import subprocess
import tempfile
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from UncertaintySegLib.errors import Cancelled, ServerError
from UncertaintySegLib.server.interpreter import NO_WINDOW, slicer_python

Done = Callable[[Any], None]
Failed = Callable[[Exception], None]
Progress = Callable[[str, float, "float | None"], None]

WORKER = Path(__file__).with_name("worker.py")
_logger = logging.getLogger(__name__)
_END_SECONDS = 3.0


@dataclass(frozen=True)
class _Call:
    done: Done
    failed: Failed
    progress: Progress | None


class WorkerClient:
    """Passes requests to the worker; the child starts with the first call, and anew where it has died.

    Args:
        command: What starts the worker, less the folder for its answers; by default Slicer's own Python.
    """

    def __init__(self, command: list[str] | None = None) -> None:
        self._command = command
        self._child: _Child | None = None
        self._calls: dict[int, _Call] = {}
        self._events: deque[Callable[[], None]] = deque()
        self._last_ticket = 0

    @property
    def pending(self) -> bool:
        """Whether something was asked whose end `pump` has not handled."""
        return bool(self._calls or self._events)

    def call(
        self,
        name: str,
        arguments: Mapping[str, Any],
        *,
        done: Done,
        failed: Failed,
        progress: Progress | None = None,
    ) -> int:
        """Have a request done; returns at once, all functions are called from `pump`.

        Args:
            name: Of a function in `requests`.
            arguments: Its arguments, as JSON can hold them.
            done: Gets the answer.
            failed: Gets the error: a `ServerError`, a `Cancelled`, or a `RuntimeError` where our code has a bug.
            progress: Gets the stage, the fraction (0 to 1) and the seconds left, None where nobody knows.

        Returns:
            A ticket for `cancel`.
        """
        self._last_ticket += 1
        ticket = self._last_ticket
        request = json.dumps({"ticket": ticket, "name": name, "arguments": dict(arguments)})
        if self._child is not None and not self._child.alive:
            self._collect()
        self._calls[ticket] = _Call(done, failed, progress)
        try:
            if self._child is None:
                self._child = _Child(self._command or [slicer_python(), str(WORKER)])
            self._child.send(request)
        except OSError as error:
            _logger.error("The helper process: %s", error)  # noqa: TRY400 - pump says it, with what the child wrote
        return ticket

    def cancel(self, ticket: int) -> None:
        """Stop a request, on the server too; one that has ended stays ended."""
        call = self._calls.pop(ticket, None)
        if call is None:
            return
        self._events.append(partial(call.failed, Cancelled("Cancelled.")))
        if self._child is not None:
            with contextlib.suppress(OSError):
                self._child.send(json.dumps({"cancel": ticket}))

    def pump(self) -> None:
        """Handle what has come since the last call; never waits."""
        if self._child is not None or self._calls:
            self._collect()
        while self._events:
            self._events.popleft()()

    def close(self) -> None:
        """End the child and what it does; nothing is called any more."""
        self._calls.clear()
        self._events.clear()
        if self._child is not None:
            self._child.close()
            self._child = None

    def _collect(self) -> None:
        """Make events of what the child has written, and of its end."""
        alive = self._child is not None and self._child.alive
        for message in self._child.answers() if self._child is not None else ():
            self._sort(message)
        if not alive:
            self._give_up()

    def _sort(self, message: dict[str, Any]) -> None:
        ticket = message["ticket"]
        call = self._calls.get(ticket)
        if call is None:
            return
        if "stage" in message:
            if call.progress is not None:
                self._events.append(partial(call.progress, message["stage"], message["fraction"], message["eta_s"]))
            return
        del self._calls[ticket]
        if "answer" in message:
            self._events.append(partial(call.done, message["answer"]))
        else:
            self._events.append(partial(call.failed, _error(message["error"])))

    def _give_up(self) -> None:
        if self._child is not None:
            _logger.error("The helper process has ended (%s): %s", self._child.exit_code, self._child.last_words())
            self._child.close()
            self._child = None
        for call in self._calls.values():
            error = ServerError("The helper process that talks to the server has ended: try again.")
            self._events.append(partial(call.failed, error))
        self._calls.clear()


class _Child:
    """One run of the worker, and the folder that its answers come to."""

    def __init__(self, command: list[str]) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="UncertaintySeg-"))  # only its owner may look into it
        answers, self._log = self._folder / "answers.jsonl", self._folder / "log.txt"
        answers.touch()
        self._answers: BinaryIO = answers.open("rb")
        self._rest = b""
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own worker
                    [*command, str(self._folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=log,
                    creationflags=NO_WINDOW,
                )
        except OSError:
            self._remove_folder()
            raise

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def send(self, request: str) -> None:
        """Raises `OSError` when the child has ended."""
        self._process.stdin.write(request.encode() + b"\n")
        self._process.stdin.flush()

    def answers(self) -> list[dict[str, Any]]:
        """Return what the child has written since the last time, whole lines only."""
        *lines, self._rest = (self._rest + self._answers.read()).split(b"\n")
        return [json.loads(line) for line in lines]

    def last_words(self) -> str:
        with contextlib.suppress(OSError):
            return self._log.read_text(errors="replace")[-2000:].strip()
        return ""

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._remove_folder()

    def _remove_folder(self) -> None:
        self._answers.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _error(data: dict[str, Any]) -> Exception:
    if data["kind"] == "cancelled":
        return Cancelled(data["message"])
    if data["kind"] == "server":
        return ServerError(data["message"], data["status"], data["field"])
    _logger.error("%s", data["details"])
    return RuntimeError(data["message"])
