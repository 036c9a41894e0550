"""MONAI Label's app folder of this server, one a port, and those of servers that ended long ago."""

from __future__ import annotations

import re
import shutil
import time
from contextlib import suppress
from pathlib import Path

import platformdirs
from filelock import FileLock, Timeout

from monailabel_app.preflight import ANY_ADDRESS, check_port
from uncertaintyseg.errors import InputError

LOCK = ".serving.lock"
"""File in an app folder that its server holds as long as it lives."""
_OURS = re.compile(r"server-(\d{1,5})")
_KEPT_SECONDS = 30 * 24 * 3600.0
"""For so long whoever runs the server may want to read the log of one that has ended."""
_held: list[FileLock] = []


def writable_app_folder(port: int) -> Path:
    """Make an app folder for `start_server`, which writes logs and empty folders beside `main.py`; remove old ones."""
    folder = platformdirs.user_state_path("uncertaintyseg") / f"server-{port}"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(Path(__file__).with_name("main.py"), folder / "main.py")
    if (lock := hold(folder)) is not None:
        _held.append(lock)
    remove_old(folder.parent, keep=folder)
    return folder


def hold(folder: Path) -> FileLock | None:
    """Take an app folder until the lock is released or this process ends; None where a server has it."""
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return None
    return lock


def remove_old(parent: Path, keep: Path) -> None:
    """Remove the app folders of servers that have ended and whose logs nobody has written to for a month."""
    for folder in parent.glob("server-*"):
        found = _OURS.fullmatch(folder.name)
        if found and folder != keep and not folder.is_symlink() and _is_old(folder) and _is_free(int(found[1])):
            lock = hold(folder)
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                lock.release()


def _is_old(folder: Path) -> bool:
    """Whether it is an app folder of ours, long out of use; `main.py` is written with each start."""
    with suppress(OSError):
        files = [folder / "main.py", *(path for path in folder.glob("logs/*") if path.is_file())]
        return time.time() - max(file.stat().st_mtime for file in files) > _KEPT_SECONDS
    return False


def _is_free(port: int) -> bool:
    """Whether nobody listens on a port: a server of an older version holds no lock."""
    try:
        check_port(ANY_ADDRESS[0], port)
    except (InputError, OverflowError):
        return False
    return True
