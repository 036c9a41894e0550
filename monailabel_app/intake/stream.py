"""The bytes of a client's file, expanded where they are packed, never more than is asked for."""

from __future__ import annotations

import zlib
from typing import BinaryIO

from uncertaintyseg.errors import InputError

GZIP, ZLIB = 31, 47
"""What zlib calls a gzip stream, and one that may be zlib's or gzip's, of any window."""
_IN_BYTES, _OUT_BYTES = 2**16, 2**18
_MEMBERS = 2**16
"""Of one gzip file: bgzip makes one of 64 kB each, an attacker millions of empty ones."""


class Stream:
    """Reads a file forwards. Every method raises `InputError` when it is cut short, damaged, or has too much.

    Args:
        file: at the first byte.
        kind: of the file, for messages.
        window: `GZIP` for a gzip file, `ZLIB` for one stream, None for bytes as they are.
        members: of a gzip file, at most.
    """

    def __init__(self, file: BinaryIO, kind: str, window: int | None = None, *, members: int = _MEMBERS) -> None:
        self._file = file
        self._kind = kind
        self._window = window
        self._inflater = zlib.decompressobj(window) if window else None
        self._input = b""
        self._more_members = members - 1 if window == GZIP else 0

    def read(self, count: int) -> bytearray:
        """The next bytes, all of them."""
        found = bytearray()
        while len(found) < count:
            part = self.some(count - len(found))
            if not part:
                raise self.error("it is cut short")
            found += part
        return found

    def end(self) -> None:
        """See that nothing is left."""
        if self.some(1):
            raise self.error("it goes on behind its voxels")

    def some(self, most: int) -> bytes:
        """One to `most` bytes, none at the end."""
        if self._inflater is None:
            return self._file.read(min(most, _OUT_BYTES))
        try:
            while not self._inflater.eof or self._next_member():
                chunk = self._input or self._file.read(_IN_BYTES)
                part = self._inflater.decompress(chunk, min(most, _OUT_BYTES))
                self._input = self._inflater.unconsumed_tail or self._inflater.unused_data
                if part:
                    return part
                if not chunk and not self._inflater.eof:
                    raise self.error("it is cut short")
        except zlib.error as error:
            raise self.error(f"it cannot be expanded ({error})") from error
        return b""

    def error(self, reason: str) -> InputError:
        """What to raise for a file that is damaged."""
        return InputError(f"not a readable {self._kind} file, {reason}: copy or export it again")

    def _next_member(self) -> bool:
        self._input = self._input or self._file.read(_IN_BYTES)
        if not self._input:
            return False
        if not self._more_members:
            raise self.error("there is something behind its packed voxels")
        self._more_members -= 1
        self._inflater = zlib.decompressobj(self._window)
        return True
