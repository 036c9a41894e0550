"""Thousands of files in one request: each is written as it comes, so neither memory nor open files grow with them."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO, NamedTuple

from anyio import to_thread
from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from monailabel_app.errors import TooLargeError
from monailabel_app.intake.received import client_name
from uncertaintyseg.errors import InputError

MAX_FILES = 5000
"""In one request."""
_CHANNELS = b"channels"


class Received(NamedTuple):
    """The files of a request, by the field they came under, in order.

    Attributes:
        files: of a scan, whatever their field was called.
        channels: of its further channels, under "channels".
    """

    files: list[Path]
    channels: list[Path]


async def received_files(request: Request, folder: Path) -> Received:
    """Write the files of a multipart request into a folder, under names of the client's.

    Raises:
        InputError: It is no such request, has no file, or a name cannot be one.
        TooLargeError: It has more than `MAX_FILES`.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise InputError("files: send one volume, or the DICOM slices of one series, as multipart/form-data")
    parts = _Parts(folder)
    try:
        parser = MultipartParser(options[b"boundary"], parts.callbacks())
        async for chunk in request.stream():
            await to_thread.run_sync(parser.write, chunk)
        parser.finalize()
    except FormParserError as error:
        raise InputError(f"files: not a readable form ({error})") from error
    finally:
        parts.close()
    if not parts.received.files:
        raise InputError("files: none came; send one volume, or the DICOM slices of one series")
    return parts.received


class _Parts:
    """What the parser calls: a part with a file name becomes a file, any other is passed over."""

    def __init__(self, folder: Path) -> None:
        self.received = Received([], [])
        self._folder = folder
        self._file: BinaryIO | None = None
        self._name, self._value, self._disposition = b"", b"", b""

    def callbacks(self) -> dict:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._open,
            "on_part_data": self._write,
            "on_part_end": self.close,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _begin(self) -> None:
        self._disposition = b""

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._name.lower() == b"content-disposition":
            self._disposition = self._value
        self._name, self._value = b"", b""

    def _open(self) -> None:
        _, options = parse_options_header(self._disposition)
        if b"filename" not in options:
            return
        count = sum(map(len, self.received))
        if count == MAX_FILES:
            raise TooLargeError(f"files: more than {MAX_FILES}; send the slices of one series only")
        name = client_name(options[b"filename"].decode(errors="replace"))
        path = self._folder / name
        if path.exists():  # slices of different folders; no name of a client's begins with +
            path = self._folder / f"+{count}_{name}"
        self._file = path.open("xb")
        (self.received.channels if options.get(b"name") == _CHANNELS else self.received.files).append(path)

    def _write(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
