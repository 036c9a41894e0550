"""Checks that take no time, made before the server's heavy imports: each failure is one message."""

from __future__ import annotations

import ipaddress
import os
import socket
import tempfile
import urllib.parse
from pathlib import Path

from filelock import FileLock, Timeout

from monailabel_app.store.known import KnownStudies, check_new
from uncertaintyseg.errors import InputError

LOCK_NAME = ".server.lock"
"""File in the studies folder that one server process holds as long as it lives."""

ANY_ADDRESS = ("0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


def is_loopback(host: str) -> bool:
    """Whether a host name or address reaches only this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def own_names(host: str) -> list[str]:
    """Return the name by which clients reach an address to listen on; none for one that stands for all."""
    return [] if host in ANY_ADDRESS or is_loopback(host) else [host]


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


def is_url(studies: str | Path) -> bool:
    """Whether the studies are those of a DICOMweb server."""
    return str(studies).lower().startswith(("http://", "https://"))


def check_url(url: str) -> str:
    """Return the address without a slash at its end.

    Raises:
        InputError: It is no http(s) address, or holds a user name or password, which would show in logs.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise InputError(f"--studies {url}: give a folder, or a DICOMweb address like http://HOST:8042/dicom-web")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            f"--studies: the address of {parts.hostname} must hold no user name, password, query or fragment; a "
            "password goes into the environment (docs/dicomweb.md)"
        )
    return url.rstrip("/")


def check_studies(studies: str, *, new: bool = False) -> None:
    """Raise `InputError` unless a server could use the folder, now or once it is back, or it is a DICOMweb address."""
    if is_url(studies):
        check_url(studies)
        return
    folder, known = Path(studies), KnownStudies()
    check_new(folder, known, new=new)
    if new or not known.is_away(folder):
        lock_studies(folder).release()
