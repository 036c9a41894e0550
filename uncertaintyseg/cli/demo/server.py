"""A server process for the demo's time."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from uncertaintyseg.errors import InputError

if TYPE_CHECKING:
    from UncertaintySegLib.server.client import Client

_START_SECONDS = 120


@dataclass(frozen=True)
class Server:
    """A running server and a client of it."""

    url: str
    pid: int
    client: Client


@contextmanager
def running_server(studies: Path, log: Path, *, keep: bool) -> Iterator[Server]:
    """Start the server as a process of its own on a free loopback port and wait until it answers; stop it at the end.

    Raises:
        InputError: when it does not start; the message names its log.
    """
    from UncertaintySegLib.errors import ServerError
    from UncertaintySegLib.server.client import Client

    port = _free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uncertaintyseg.cli", "serve", "--studies", str(studies), "--port", str(port)]
    command += ["--cache", str(log.parent / "cache"), "--new"]  # the studies of a demo are made anew each time
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)  # noqa: S603 - ourselves
    client = Client(url)
    stop = True
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            if process.poll() is not None:
                raise InputError(f"the server ended at once; its log {log} says why.")
            try:
                client.info()
                break
            except ServerError as error:
                if time.monotonic() > deadline:
                    raise InputError(f"no answer from the server after {_START_SECONDS} s; see {log}.") from error
                time.sleep(0.5)
        yield Server(url, process.pid, client)
        stop = not keep
    finally:
        if stop:
            _stop(process)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _stop(process: subprocess.Popen) -> None:
    """End the server and its worker."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL) if os.name == "posix" else process.kill()
            process.wait()
