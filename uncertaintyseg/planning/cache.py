"""What was measured, kept from one time to the next: a line of JSON a case, in the user's folder of caches.

A case counts as measured as long as its files have the same names, sizes and times, and the numbers in its label the
same meaning. Lines are only ever added; one that was cut short is passed over.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import platformdirs

from uncertaintyseg.planning.facts import CaseFacts, Intensities, Problem
from uncertaintyseg.planning.measuring import Meaning, Measured, files_of

if TYPE_CHECKING:
    from uncertaintyseg.data.layouts import Case

VERSION = 3
"""Raise it when measuring changes."""


def user_cache() -> Path:
    """The folder of fingerprints among the user's caches."""
    return platformdirs.user_cache_path("uncertaintyseg") / "fingerprints"


class FactsCache:
    """Facts of the cases of one data set.

    Args:
        folder: of all caches; None keeps nothing.
        data: the data set's folder.
        meaning: of its labels.
        tell: called once with a sentence when nothing can be kept.
    """

    def __init__(self, folder: Path | None, data: Path, meaning: Meaning, tell: Callable[[str], None]) -> None:
        self._data, self._meaning, self._tell = data.resolve(), meaning, tell
        digest = hashlib.blake2b(str(self._data).encode(), digest_size=6).hexdigest()
        self._path = None if folder is None else folder / f"{self._data.name}-{digest}.jsonl"
        self._known = self._read()
        self._keys: dict[str, str] = {}  # as files were before they were measured

    def find(self, case: Case) -> Measured | None:
        """What is kept of a case in the state in which its files are."""
        self._keys[case.id] = self._key(case)
        found = self._known.get(self._keys[case.id])
        return None if found is None else _measured(found)

    def add(self, case: Case, measured: Measured) -> None:
        """Keep what was measured of a case that `find` did not know; what could not be read is tried anew next time."""
        if self._path is None or measured.facts is None:
            return
        problems = [asdict(problem) for problem in measured.problems]
        row = {"key": self._keys[case.id], "facts": _row(measured.facts), "problems": problems}
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab") as file:  # one write at the end of the file, whoever else adds to it
                start = b"\n" if file.tell() and not self._ends_with_a_line() else b""
                file.write(start + json.dumps(row, separators=(",", ":")).encode() + b"\n")
        except OSError as error:
            self._tell(
                f"{self._path}: what was measured cannot be kept for the next time ({error.strerror}); the plan is the "
                "same without."
            )
            self._path = None

    def _ends_with_a_line(self) -> bool:
        with self._path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) == b"\n"

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            lines = self._path.read_bytes().splitlines() if self._path else []
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except OSError as error:
            self._tell(f"{self._path}: what was measured before cannot be read ({error.strerror}); measured anew.")
            return {}
        return {row["key"]: row for row in map(_parsed, lines) if row}

    def _key(self, case: Case) -> str:
        """Of a case's files and all that what is measured depends on."""
        files = []
        for path in files_of(case, self._meaning):
            stat = path.stat()
            files.append([os.path.relpath(path, self._data), stat.st_size, stat.st_mtime_ns])
        content = [VERSION, case.id, files, sorted(asdict(self._meaning).items(), key=lambda item: item[0])]
        return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def _parsed(line: bytes) -> dict[str, Any] | None:
    """A line; None for one that was cut short, or is of something else."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None


def _row(facts: CaseFacts) -> dict[str, Any]:
    row = asdict(facts)
    for channel in row["channels"]:
        packed = np.ascontiguousarray(channel["sample"], "<f4").tobytes()
        channel["sample"] = base64.b64encode(packed).decode()
    return row


def _measured(row: dict[str, Any]) -> Measured | None:
    try:
        facts = row["facts"]
        channels = [_intensities(channel) for channel in facts["channels"]]
        shapes = {key: tuple(facts[key]) for key in ("shape", "spacing", "cropped_shape")}
        counts = {key: _by_number(facts[key]) for key in ("voxels", "unknown")}
        return Measured(
            CaseFacts(**{**facts, "channels": channels, **shapes, **counts}), [Problem(**p) for p in row["problems"]]
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None  # measured anew


def _intensities(row: dict[str, Any]) -> Intensities:
    sample = np.frombuffer(base64.b64decode(row["sample"]), "<f4").astype(np.float32)
    return Intensities(**{**row, "sample": sample, "contrast": _by_number(row["contrast"])})


def _by_number(row: dict[str, Any]) -> dict[int, Any]:
    return {int(key): value for key, value in row.items()}
