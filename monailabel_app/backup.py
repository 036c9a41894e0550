"""`uncertaintyseg backup`: a copy of a studies folder that a server can start from, whether or not one runs on it."""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import requests
from filelock import FileLock, Timeout

from monailabel_app.preflight import LOCK_NAME
from monailabel_app.store.records import FILE, Records
from uncertaintyseg.errors import InputError, UncertaintySegError

SNAPSHOT = "backup.sqlite"
"""Copy of the records that a running server makes."""
TOKEN = "UNCERTAINTYSEG_TOKEN"  # noqa: S105 - the variable's name
_SECONDS = 600


def back_up(studies: Path, destination: Path, server: str, token: str | None = None) -> dict[str, int]:
    """Make a folder the copy of a studies folder as it is now; what is there and has not changed is not copied again.

    The records are copied first: whatever they name is among the files that follow, or newer.

    Args:
        studies: The folder.
        destination: Empty, or an earlier backup of the same folder; what is not in the studies any more goes.
        server: Address of the server that has the folder open, if one has.
        token: Of an admin, where the server wants one.

    Returns:
        How many files were `copied`, `kept` and `removed`.

    Raises:
        InputError: A folder or the server cannot be used.
    """
    if not (studies / FILE).is_file():
        raise InputError(f"{studies}: holds no {FILE}, so no server of ours has served it")
    if destination.resolve().is_relative_to(studies.resolve()):
        raise InputError(f"{destination}: lies inside the studies; a backup belongs on another disk")
    destination.mkdir(parents=True, exist_ok=True)
    new = destination / f".{FILE}.new"
    new.unlink(missing_ok=True)
    _copy_records(studies, new, server, token)
    if any(destination.glob("[!.]*")) and _id_of(destination / FILE) != _id_of(new):
        new.unlink()
        raise InputError(f"{destination}: is no earlier backup of {studies}; give an empty folder")
    for log in (
        f"{FILE}-wal",
        f"{FILE}-shm",
    ):  # of a server that was started on the copy: it would be played into the new one
        (destination / log).unlink(missing_ok=True)
    os.replace(new, destination / FILE)
    counts = {"copied": 0, "kept": 0, "removed": 0}
    wanted = {path.relative_to(studies) for path in _files(studies)}
    for name in sorted(wanted):
        counts["copied" if _copy(studies / name, destination / name) else "kept"] += 1
    for path in list(_files(destination)):
        if path.relative_to(destination) not in wanted:  # a label that was removed must not come back
            path.unlink()
            counts["removed"] += 1
    return counts


def _copy_records(studies: Path, to: Path, server: str, token: str | None) -> None:
    try:
        with FileLock(studies / LOCK_NAME, timeout=0):
            with closing(Records(studies / FILE)) as records:
                records.copy_to(to)
            return
    except Timeout:
        pass  # a server has it
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = requests.post(f"{server.rstrip('/')}/uncertainty/v1/backup", headers=headers, timeout=_SECONDS)
        said = answer.json()
    except (requests.RequestException, ValueError) as error:
        raise InputError(
            f"a server has {studies} open, and none answers at {server}: give its address with --server"
        ) from error
    if answer.status_code != requests.codes.ok:
        raise InputError(f"{server}: {said.get('detail')}. An admin's token goes into {TOKEN}")
    if _id_of(studies / said["file"]) != said["id"]:
        raise InputError(f"{server}: serves another folder than {studies}; give the right one with --server")
    shutil.copyfile(studies / said["file"], to)


def _id_of(records: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"file:{records}?mode=ro&immutable=1", uri=True)) as database:
            return database.execute("SELECT value FROM meta WHERE key = 'id'").fetchone()[0]
    except (sqlite3.Error, TypeError):
        return None


def _files(folder: Path) -> Iterator[Path]:
    """All but the records, which were copied, locks and files that are being written."""
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not hidden and not path.name.startswith((FILE, SNAPSHOT)):
            yield path


def _copy(source: Path, path: Path) -> bool:
    try:
        now = source.stat()
        if path.is_file():
            then = path.stat()
            if (then.st_size, then.st_mtime_ns) == (now.st_size, now.st_mtime_ns):
                return False
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        shutil.copy2(source, new)
        os.replace(new, path)
    except FileNotFoundError:  # it went meanwhile
        return False
    return True


def main() -> None:
    """Exit with 2 and one message when the user can mend it."""
    parser = argparse.ArgumentParser(prog="uncertaintyseg backup", description=__doc__)
    parser.add_argument("studies", type=Path)
    parser.add_argument("destination", type=Path)
    parser.add_argument("--server", default="http://127.0.0.1:8000")
    arguments = parser.parse_args()
    try:
        counts = back_up(arguments.studies, arguments.destination, arguments.server, os.environ.get(TOKEN))
    except (UncertaintySegError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201 - the command's one message
        raise SystemExit(2) from None
    print(f"{arguments.destination}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))  # noqa: T201


if __name__ == "__main__":
    main()
