"""Cases on their way to a machine that does not see their files: as bytes."""

from __future__ import annotations

import dataclasses
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from uncertaintyseg.data.channels import channel_files
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.time_axis import said_beside
from uncertaintyseg.errors import InputError


@dataclass(frozen=True)
class Shipped:
    """A case with all its files.

    Attributes:
        item: a dataclass, paths of which name the files.
        root: the folder that all of them lie in.
        files: by their path in there.
    """

    item: Any
    root: str
    files: dict[str, bytes]

    @property
    def id(self) -> str:
        """Of the case."""
        return self.item.id

    @contextmanager
    def unpacked(self) -> Iterator[Any]:
        """The case with its files in a folder of this machine; what is said of them names those that were sent."""
        with TemporaryDirectory(prefix="uncertaintyseg_") as folder:
            for name, data in self.files.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            try:
                yield _with_paths(self.item, lambda path: Path(folder, os.path.relpath(path, self.root)))
            except InputError as error:
                raise type(error)(str(error).replace(folder, self.root)) from error


def shipped(item: Any, channels: int) -> Shipped:
    """A case with the bytes of all its files.

    Args:
        item: a dataclass whose fields are paths, or sequences of such, where they are files.
        channels: of its scan.

    Raises:
        InputError: one of them cannot be read.
    """
    files = files_of(item, channels)
    root = os.path.commonpath([path.parent for path in files])
    try:
        return Shipped(item, root, {os.path.relpath(path, root): path.read_bytes() for path in files})
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}).") from error


def files_of(item: Any, channels: int) -> list[Path]:
    """All files of a case, absolute.

    Raises:
        InputError: one is missing.
    """
    image = item.image
    images = channel_files(image, channels)
    found = [file for path in images for file in scan_files(path)] + said_beside(images[0])
    for path in paths_of(dataclasses.replace(item, image=images[0])):
        if path != images[0]:
            found += _tree(path) if path.is_dir() else scan_files(path)
    return list(dict.fromkeys(path.absolute() for path in found))


def paths_of(item: Any) -> list[Path]:
    """Files and folders that a case names."""
    found: list[Path] = []
    _with_paths(item, lambda path: found.append(path) or path)
    return found


def absolute(item: Any) -> Any:
    """The case with absolute paths."""
    return _with_paths(item, lambda path: path)


def check_seen(item: Any) -> None:
    """Raise `InputError` where this machine does not see a file of a case."""
    for path in paths_of(item):
        if not path.exists():
            raise InputError(
                f"{path}: node {platform.node()} does not see it. Keep the data where every node sees it under the "
                "same path, or send scans as bytes: --scans bytes."
            )


def _tree(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


def _with_paths(item: Any, change: Callable[[Path], Path]) -> Any:
    """A dataclass with other paths."""
    changed = {}
    for field in dataclasses.fields(item):
        value = getattr(item, field.name)
        if isinstance(value, Path):
            changed[field.name] = change(value.absolute())
        elif isinstance(value, list | tuple) and value and all(isinstance(part, str | os.PathLike) for part in value):
            changed[field.name] = type(value)(change(Path(part).absolute()) for part in value)
    return dataclasses.replace(item, **changed)
