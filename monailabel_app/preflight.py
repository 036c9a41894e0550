"""Checks that take no time, made before the server's heavy imports: each failure is one message."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
from pathlib import Path

from filelock import FileLock, Timeout

from uncertaintyseg.errors import InputError

LOCK_NAME = ".server.lock"
"""File in the studies folder that one server process holds as long as it lives."""


def is_loopback(host: str) -> bool:
    """Whether a host name or address reaches only this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_host(host: str) -> None:
    """Raise `InputError` unless `host` is loopback: this version has no log-in."""
    if not is_loopback(host):
        raise InputError(
            f"--host {host}: this version serves loopback only, since it has no log-in. Use --host 127.0.0.1, "
            "and from another machine an SSH tunnel: ssh -L 8000:127.0.0.1:8000 USER@SERVER"
        )


def check_port(host: str, port: int) -> None:
    """Raise `InputError` when nothing can listen on `port`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if os.name == "posix":  # as uvicorn does; on Windows the option would let two servers share a port
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InputError(
                f"--port {port}: cannot listen there ({error.strerror}). Stop the other server or choose another port."
            ) from error


def lock_studies(studies: Path) -> FileLock:
    """Take the studies folder for this process: two servers on one folder would overwrite each other's records.

    The lock goes when it is released or the process ends, however it ends.

    Raises:
        InputError: The folder is missing, not writable, or another server has it.
    """
    if not studies.is_dir():
        raise InputError(f"--studies {studies}: no such folder. Create it and put the scans in it, then start again.")
    try:
        with tempfile.TemporaryFile(dir=studies):
            pass
        lock = FileLock(studies / LOCK_NAME)
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(
            f"--studies {studies}: another server process has this folder open. Stop it or choose another folder; "
            "one server runs as one process (no --workers)."
        ) from error
    except OSError as error:
        raise InputError(
            f"--studies {studies}: not writable ({error.strerror}). Labels and scores are kept there: "
            "change its permissions or copy the scans to a folder of your own."
        ) from error
    return lock


def check_studies(studies: Path) -> None:
    """Raise `InputError` unless a server could use the folder now."""
    lock_studies(studies).release()
