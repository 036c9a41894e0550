"""What a command has done of its cases, kept until it is through: a killed one goes on where it stopped."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import logging
import shutil
import time
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from uncertaintyseg import NUMBERS, __version__
from uncertaintyseg.data.writing import write_bytes
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.shipping import absolute, files_of

logger = logging.getLogger(__name__)
_DAYS = 14
"""What nobody has gone on with for so long is dropped."""
_ARRAY = "__array__"


class Journal:
    """Answers by case, a file each; what answers depend on is in their names, so what changed is done again.

    A journal that cannot be written costs time after a kill, and nothing else.

    Args:
        folder: of the journals of all commands.
        about: plain JSON that tells this command from others: model, method, options.
        channels: of a scan.

    Attributes:
        used: how many answers of an earlier run were taken; counted by who takes them.
    """

    def __init__(self, folder: Path, about: Any, channels: int) -> None:
        name = hashlib.sha256(json.dumps([NUMBERS, __version__, about], sort_keys=True, default=name_of).encode())
        self.folder, self.channels = folder / name.hexdigest()[:32], channels
        self.used = 0
        self._begun: dict[tuple[str, str], Path | None] = {}
        """What a case's entry was called before it was done."""
        self._prune(folder)

    def answer(self, work: Callable[..., Any], case: Any) -> Any:
        """What was made of a case by the same work; None where nothing was, or its files have changed since."""
        which = (str(name_of(work)), case.id)
        self._begun[which] = None
        try:
            path = self._begun[which] = self._path(work, case)
            return decoded(path.read_bytes())
        except (OSError, EOFError, InputError, ValueError, KeyError, zipfile.BadZipFile):
            return None

    def note(self, work: Callable[..., Any], case: Any, answer: Any) -> None:
        """Keep what was made of a case: JSON, in which arrays may stand.

        Nothing is kept of a case whose files changed since `answer` was asked for it: nobody knows which were read.
        """
        try:
            path = self._path(work, case)
            if self._begun.get((str(name_of(work)), case.id), path) != path:
                return
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_bytes(path, encoded(answer))
        except (OSError, InputError) as error:
            logger.warning("what is done is not kept: %s", error)

    def tell(self, tell: Callable[[str], None]) -> None:
        """Say how much of an earlier run was used."""
        if self.used:
            tell(f"{self.used} cases were done by an earlier run of this command; --no-resume does them again.")

    def close(self) -> None:
        """Forget all: the command is through."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, work: Callable[..., Any], case: Any) -> Path:
        stats = [(str(file), *_stamp(file)) for file in files_of(case, self.channels)]
        key = json.dumps([name_of(work), repr(absolute(case)), stats], default=str)
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

    @staticmethod
    def _prune(folder: Path) -> None:
        oldest = time.time() - _DAYS * 86400
        with suppress(OSError):  # another command may drop them too, or the folder be another user's
            for old in folder.iterdir() if folder.is_dir() else ():
                if old.stat().st_mtime < oldest:
                    shutil.rmtree(old, ignore_errors=True)


def encoded(answer: Any) -> bytes:
    """JSON in which arrays stand, as an .npz file."""
    arrays: list[np.ndarray] = []

    def taken(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays.append(value)
            return {_ARRAY: len(arrays) - 1}
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, dict):
            return {key: taken(part) for key, part in value.items()}
        return [taken(part) for part in value] if isinstance(value, list | tuple) else value

    text = json.dumps(taken(answer)).encode()
    buffer = io.BytesIO()
    np.savez_compressed(buffer, np.frombuffer(text, np.uint8), *arrays)
    return buffer.getvalue()


def decoded(data: bytes) -> Any:
    """What `encoded` was given; tuples are lists.

    Raises:
        EOFError, ValueError, KeyError, zipfile.BadZipFile: it is damaged.
    """
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:

        def put_back(value: dict[str, Any]) -> Any:
            return arrays[f"arr_{value[_ARRAY] + 1}"] if _ARRAY in value else value

        return json.loads(arrays["arr_0"].tobytes(), object_hook=put_back)


def _stamp(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns


def name_of(work: Any) -> Any:
    """What a function is called, with what it was given beforehand; of a dataclass what it says."""
    if isinstance(work, functools.partial):
        named = {key: name_of(value) for key, value in work.keywords.items()}
        return [name_of(work.func), [name_of(value) for value in work.args], named]
    if callable(work) and hasattr(work, "__qualname__"):
        return f"{work.__module__}.{work.__qualname__}"
    return str(work) if isinstance(work, Path) else repr(work)
