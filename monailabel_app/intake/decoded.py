"""Pictures, frames and ultrasound files of the studies as NIfTI, decoded once, in a process that cannot take much.

What follows, from the network to a client's viewer, reads these files alone. Each lies in a folder named after the
content that it was decoded from.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from pydicom.filereader import read_partial
from pydicom.tag import Tag

from monailabel_app.intake.opening import MAX_VOXELS
from monailabel_app.limited import HAS_LIMITS, run_limited
from uncertaintyseg.data.images import PAGED, frames_in, is_picture
from uncertaintyseg.data.scan import scan_notes
from uncertaintyseg.data.scan_files import is_dicom, scan_files
from uncertaintyseg.data.time_axis import AXIS, SPACING_KNOWN, TIME
from uncertaintyseg.data.ultrasound import is_flat
from uncertaintyseg.data.writing import write_bytes, write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.content import content_hash

logger = logging.getLogger(__name__)

_PROGRAM = Path(__file__).with_name("decoding_process.py")
_HOW = 1
"""Raised with every change of how files are decoded, so that they are decoded anew."""
_CLASS_UID = Tag(0x0008, 0x0016)
_MEMORY = 2**33
"""Bytes of address space: the libraries take two of these gigabytes without using them."""
_SECONDS, _SECONDS_A_FILE = 60, 2
_AT_ONCE = 64
"""Scans that one process decodes."""
_IN_USE_SECONDS = 3600.0
_DECODING = ".decoding-"
_SOURCES = "sources.json"
_Stamp = tuple[tuple[int, ...], ...]


class Decoded:
    """Decodes what needs it, and keeps that.

    Args:
        root: Folder for it; made when missing.
        limit_bytes: The least recently used go beyond this size.

    Attributes:
        in_use: Tells which files jobs read, for hours perhaps; these stay.
    """

    def __init__(self, root: Path, limit_bytes: int) -> None:
        self._root, self._limit_bytes = root, limit_bytes
        self._lock = threading.Lock()
        self._refused: dict[Path, InputError] = {}
        self._beyond: dict[tuple[Path, _Stamp], InputError] = {}  # limits; where a file is touched it is tried again
        self._sources, self._noting = _read_sources(root / _SOURCES), threading.Lock()
        self.in_use: Callable[[], Collection[str]] = tuple
        root.mkdir(parents=True, exist_ok=True)

    def of(self, scan: Path) -> Path:
        """A scan as a file that is read without a decoder: itself, or what was decoded of it.

        Raises:
            InputError: It cannot be decoded: damaged, too large, or in a way that is not read, which is named.
        """
        found = self.all_of([scan])[0]
        if isinstance(found, InputError):
            raise found
        return found

    def all_of(self, scans: Sequence[Path]) -> list[Path | InputError]:
        """The same of many, with the error of each that cannot be decoded; far faster than one by one."""
        places = [self._wanted(scan) for scan in scans]
        pairs = zip(places, scans, strict=True)
        missing = [(p, scan) for p, scan in pairs if isinstance(p, Path) and p != scan and not _is_kept(p)]
        errors: dict[Path, InputError] = {}
        for start in range(0, len(missing), _AT_ONCE):
            part = dict(missing[start : start + _AT_ONCE])
            with self._lock:  # meanwhile others may have decoded some
                errors |= {place: self._refused[place] for place in part.keys() & self._refused.keys()}
                left = {place: scan for place, scan in part.items() if place not in errors and not place.is_file()}
                errors |= self._decode(left) if left else {}
                self._evict()
        found = [place if isinstance(place, InputError) else errors.get(place, place) for place in places]
        self._note(zip(scans, found, strict=True))
        return found

    def usable(self, scans: Mapping[str, Path]) -> dict[str, Path]:
        """The same of many by id, without those that cannot be decoded; the log says why.

        Raises:
            InputError: None can be decoded.
        """
        found = dict(zip(scans, self.all_of(list(scans.values())), strict=True))
        errors = [error for error in found.values() if isinstance(error, InputError)]
        for error in errors:
            logger.warning("left out: %s", error)
        if errors and len(errors) == len(found):
            raise errors[0]
        return {name: path for name, path in found.items() if isinstance(path, Path)}

    def notes(self, scan: Path) -> dict[str, object]:
        """What is known of a scan's axes without decoding it, as entries of `data.time_axis`.

        Content is read by `of` alone: a list of thousands goes by the size and the times of files.
        """
        try:
            if frames_in(scan):
                return {AXIS: TIME, SPACING_KNOWN: False}
            if is_picture(scan) and not scan.name.lower().endswith(PAGED):  # not read for it: there may be thousands
                return {SPACING_KNOWN: False}
            if not needs_decoding(scan):
                return scan_notes(scan)
            stamp, place = self._sources.get(str(scan), ((), ""))
            return scan_notes(self._root / place) if stamp and stamp == _stamp(scan) else {}
        except (InputError, OSError):
            return {}

    def forget(self, scan: Path) -> None:
        """Let go of what a scan was decoded to, before it is removed."""
        place = self._wanted(scan)
        if isinstance(place, Path) and place != scan:
            shutil.rmtree(place.parent, ignore_errors=True)

    def _note(self, found: Iterable[tuple[Path, Path | InputError]]) -> None:
        """Remember what each scan was decoded to, also for the next start."""
        new = {}
        for scan, place in found:
            if isinstance(place, Path) and place != scan:
                source = (_stamp(scan), place.relative_to(self._root).as_posix())
                if self._sources.get(str(scan)) != source:
                    new[str(scan)] = source
        if new:
            with self._noting, contextlib.suppress(InputError):  # no more than a convenience
                self._sources |= new
                write_bytes(self._root / _SOURCES, json.dumps(self._sources).encode())

    def _wanted(self, scan: Path) -> Path | InputError:
        """The scan itself, the place of what is decoded of it, or why nothing can be."""
        try:
            place = self._place(scan) if needs_decoding(scan) else scan
        except InputError as error:
            return error
        except OSError as error:
            return InputError(f"{scan}: cannot be read ({error.strerror}); check the path")
        known = self._refused.get(place) or (None if place == scan else self._beyond.get((place, _stamp(scan))))
        return known or place

    def _place(self, scan: Path) -> Path:
        files = scan_files(scan)
        names = "/".join(file.name for file in files)
        key = hashlib.sha256(f"{_HOW} {content_hash(*files)} {names}".encode()).hexdigest()
        stem = scan.name if scan.is_dir() else scan.stem
        return self._root / key[:32] / f"{stem}.nii.gz"

    def _decode(self, scans: dict[Path, Path]) -> dict[Path, InputError]:
        """Decode scans to their places; one that takes the process with it does not take the others."""
        if not HAS_LIMITS:
            why = "is decoded on Linux alone, which can limit a decoder: 'uncertaintyseg convert' makes NIfTI of it"
            return {place: InputError(f"{scan}: {why}") for place, scan in scans.items()}
        errors: dict[Path, InputError] = {}
        with tempfile.TemporaryDirectory(dir=self._root, prefix=_DECODING) as name:
            folder, listed = Path(name), [str(scan.absolute()) for scan in scans.values()]
            (folder / "scans.json").write_text(json.dumps(listed), encoding="utf-8")
            seconds = _SECONDS + _SECONDS_A_FILE * sum(len(scan_files(scan)) for scan in scans.values())
            run_limited(_PROGRAM, folder, memory=_MEMORY, seconds=seconds, file_bytes=4 * MAX_VOXELS + 4096)
            undone = {}
            for number, (place, scan) in enumerate(scans.items()):
                told = folder / f"{number}.json"
                if not told.is_file():
                    undone[place] = scan
                elif (said := json.loads(told.read_text(encoding="utf-8"))).get("error"):
                    errors[place] = self._refused[place] = InputError(said["error"])
                elif self._wanted(scan) != place:
                    errors[place] = InputError(f"{scan}: it changed while it was decoded; try again")
                else:
                    _keep(folder / f"{number}.npy", said, place)
        if len(scans) == 1:
            return errors | {place: self._refuse(place, scan) for place, scan in undone.items()}
        for place, scan in undone.items():
            errors |= self._decode({place: scan})
        return errors

    def _refuse(self, place: Path, scan: Path) -> InputError:
        """Say that a scan takes more than it may, and remember it unless it may have been for want of room."""
        limits = "cannot be decoded within this server's limits, or is damaged: export it again, smaller"
        error = InputError(f"{scan}: {limits}")
        if shutil.disk_usage(self._root).free > 4 * MAX_VOXELS:
            self._beyond[place, _stamp(scan)] = error
        return error

    def _evict(self) -> None:
        total, now, pinned = 0, time.time(), {Path(file).parent for file in self.in_use()}
        folders = [(folder.stat().st_mtime, folder) for folder in self._root.iterdir() if folder.is_dir()]
        for used, folder in sorted(folders, reverse=True):
            total += sum(file.stat().st_size for file in folder.iterdir())
            is_left = folder.name.startswith(_DECODING)  # by a server that was killed
            is_old = now - used > _IN_USE_SECONDS and folder not in pinned
            if (is_left or total > self._limit_bytes) and is_old:
                shutil.rmtree(folder, ignore_errors=True)


def _stamp(scan: Path) -> _Stamp:
    """Which files these are, their sizes and times; empty where one is away."""
    with contextlib.suppress(OSError, InputError):
        found = (file.stat() for file in scan_files(scan))
        return tuple((one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for one in found)
    return ()


def _read_sources(path: Path) -> dict[str, tuple[_Stamp, str]]:
    """What an earlier start noted of scans that are decoded; nothing where that cannot be read."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return {scan: (tuple(map(tuple, stamp)), str(place)) for scan, (stamp, place) in kept.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def needs_decoding(scan: Path) -> bool:
    """Whether a scan is a picture, a folder of frames, or ultrasound DICOM."""
    if is_picture(scan) or frames_in(scan):
        return True
    if scan.is_dir():
        first = next((file for file in sorted(scan.iterdir()) if file.is_file() and is_dicom(file)), None)
        return first is not None and _is_ultrasound(first)
    return _is_ultrasound(scan)


def _is_ultrasound(path: Path) -> bool:
    try:
        status = path.stat()
    except OSError:
        return False
    return _read_ultrasound(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(2**14)
def _read_ultrasound(path: Path, _size: int, _changed: int) -> bool:
    try:
        if not is_dicom(path):
            return False
        with path.open("rb") as file:
            return is_flat([read_partial(file, lambda tag, *_: tag > _CLASS_UID, specific_tags=[_CLASS_UID])])
    except Exception:  # noqa: BLE001 - pydicom lets through what it meets: struct.error, RecursionError, KeyError
        return False


def _is_kept(place: Path) -> bool:
    """Whether what was decoded is there, which is then in use."""
    with contextlib.suppress(OSError):
        os.utime(place.parent)
    return place.is_file()


def _keep(array: Path, said: dict, place: Path) -> None:
    place.parent.mkdir(exist_ok=True)
    write_volume(place, np.load(array, mmap_mode="r", allow_pickle=False), said["affine"], about=said["about"])
