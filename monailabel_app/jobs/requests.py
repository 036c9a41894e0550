"""What results were asked with: one that is damaged, or had to make room, is made again under its key."""

from __future__ import annotations

import logging
import os
import threading
import uuid
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from monailabel_app.jobs.results import checked
from monailabel_app.jobs.seal import with_digest, without_digest

logger = logging.getLogger(__name__)


class Asked(BaseModel):
    """A request for a result.

    Attributes:
        model: name of the model.
        image: the datastore's id; scans that only came with a request are gone, and so are results of them.
        params: of the inference, as `InferParams` has them.
        key: of the inference; another one where another result had to stand in for want of memory.
        picked: whether the image was picked for its risk, so that nothing can be promised.
        corrections: a `wire.ConditionRequest` on the inference's result.
    """

    model_config = ConfigDict(extra="forbid")

    model: str
    image: str
    params: dict[str, Any]
    key: str
    picked: bool = False
    corrections: dict[str, Any] | None = None


class Requests:
    """Requests by the key of their result, one small file each. They outlive the results.

    Args:
        root: Folder of the files; made when missing.
        limit_bytes: the oldest go beyond this size.
    """

    def __init__(self, root: Path, limit_bytes: int = 256 * 2**20) -> None:
        self.root, self._limit_bytes = root, limit_bytes
        self._lock = threading.Lock()
        root.mkdir(parents=True, exist_ok=True)
        self._bytes = sum(size for _, size, _ in self._files())

    def note(self, key: str, asked: Asked) -> None:
        """Remember a request; that an image was picked is never forgotten. A full disk costs no result."""
        with self._lock:
            known = self.of(key)
            if known is not None:
                asked = asked.model_copy(update={"picked": asked.picked or known.picked})
                if asked == known:
                    return
            data = with_digest(asked.model_dump_json().encode())
            try:
                temporary = self.root / f".{uuid.uuid4().hex}.tmp"
                temporary.write_bytes(data)
                os.replace(temporary, self._path(key))
            except OSError as error:
                logger.warning("the request for result %s could not be kept: %s", key, error.strerror)
                return
            self._bytes += len(data)
            if self._bytes > self._limit_bytes:
                self._forget()

    def of(self, key: str) -> Asked | None:
        """What a result was asked with; None where that is not known (any more).

        Raises:
            NotFoundError: `key` is no key at all.
        """
        try:
            return Asked.model_validate_json(without_digest(self._path(key).read_bytes()) or b"")
        except (OSError, ValidationError):
            return None

    def image(self, key: str) -> str | None:
        """The datastore's id of the image that a result is of; None where that is not known."""
        asked = self.of(key)
        return asked and asked.image

    def was_picked(self, key: str) -> bool:
        """Whether the image of a result was picked for its risk."""
        asked = self.of(key)
        return asked is not None and asked.picked

    def _path(self, key: str) -> Path:
        return self.root / f"{checked(key)}.json"

    def _files(self) -> list[tuple[float, int, Path]]:
        """When each was written, its bytes and where it is."""
        found = [(path, path.stat()) for path in self.root.iterdir()]
        return [(status.st_mtime, status.st_size, path) for path, status in found]

    def _forget(self) -> None:
        """Let the oldest go until a tenth of the room is free, so that this is seldom."""
        files = sorted(self._files())
        self._bytes = sum(size for _, size, _ in files)
        for _, size, path in files:
            if self._bytes <= 0.9 * self._limit_bytes:
                break
            path.unlink(missing_ok=True)
            self._bytes -= size
