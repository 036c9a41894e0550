"""A server on this computer, started and stopped from Slicer; nothing here ever waits."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from UncertaintySegLib.errors import ServerError
from UncertaintySegLib.server.interpreter import NO_WINDOW, slicer_python

SUPERVISOR = Path(__file__).with_name("supervisor.py")


class LocalServer:
    """One run of `uncertaintyseg serve` on a free port of this computer.

    Args:
        command: What starts the command line of the package, e.g. "uncertaintyseg"; may have arguments.
        studies: Folder with the scans.
        environment: Of the server: that of the user and not Slicer's, whose Python would be in its way.

    Attributes:
        url: Where it answers once it is ready.

    Raises:
        ServerError: The command or the folder is not there.
    """

    def __init__(self, command: str, studies: Path, environment: Mapping[str, str]) -> None:
        program = _program(command, environment)
        if not studies.is_dir():
            raise ServerError(f"There is no folder '{studies}': choose the folder with the scans.")
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._folder = Path(tempfile.mkdtemp(prefix="UncertaintySegServer-"))
        log = self._folder / "log.txt"
        self._process = _start_supervisor(log)
        self._log: BinaryIO = log.open("rb")
        self._rest = b""
        wanted = {
            "command": [*program, "serve", "--studies", str(studies), "--port", str(port)],
            "environment": {**environment, "PYTHONUNBUFFERED": "1"},
            "log_folder": str(self._folder),
        }
        with contextlib.suppress(OSError):  # it has ended: `running` says so
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()

    @property
    def running(self) -> bool:
        """Whether it has not ended, by itself or after `stop`."""
        return self._process.poll() is None

    def log_lines(self) -> list[str]:
        """Return what it has printed since the last call; the last line once it is whole, or the server has ended."""
        ended = not self.running
        *lines, self._rest = (self._rest + self._log.read()).split(b"\n")
        if ended and self._rest:
            lines.append(self._rest)
            self._rest = b""
        return [line.decode(errors="replace").rstrip() for line in lines]

    def stop(self) -> None:
        """Ask it to end; it does so by itself, in its time."""
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def forget(self) -> None:
        """Ask it to end, and remove its log."""
        self.stop()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _start_supervisor(log: Path) -> subprocess.Popen:
    try:
        with log.open("wb") as output:
            return subprocess.Popen(  # noqa: S603 - our own supervisor
                [slicer_python(), str(SUPERVISOR)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                creationflags=NO_WINDOW,
            )
    except OSError as error:
        shutil.rmtree(log.parent, ignore_errors=True)
        raise ServerError(f"No server can be started from here ({error}): start it in a terminal.") from error


def _program(command: str, environment: Mapping[str, str]) -> list[str]:
    path = environment.get("PATH")
    parts = [command] if shutil.which(command, path=path) else shlex.split(command, posix=os.name != "nt")
    program = shutil.which(parts[0], path=path) if parts else None
    if program is None:
        raise ServerError(
            f"There is no command '{command}' on this computer: install it with `pip install uncertaintyseg[server]`"
            " into a Python of its own, not Slicer's, then give the path of the command here."
        )
    return [program, *parts[1:]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
