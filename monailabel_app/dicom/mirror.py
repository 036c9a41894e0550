"""Series of a DICOMweb server on this disk: fetched when first asked for, the least recently used going first."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
import threading
from pathlib import Path

from monailabel_app.dicom.series import Series, read_series
from monailabel_app.dicom.server import DicomWebServer, SeriesEntry
from monailabel_app.intake.scan import write_scan
from monailabel_app.intake.series import open_series
from uncertaintyseg.errors import InputError

logger = logging.getLogger(__name__)

VOLUME_SUFFIX = ".nii.gz"


class Mirror:
    """`UID.nii.gz` beside `series/UID/` with its slices; a volume is there only when the whole series is.

    Args:
        root: Folder of the volumes.
        server: Where series come from.
        limit_bytes: The least recently used series go beyond this size.
    """

    def __init__(self, root: Path, server: DicomWebServer, limit_bytes: int) -> None:
        self._root = root
        self._series = root / "series"
        self._server = server
        self._limit_bytes = limit_bytes
        self._guard = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        shutil.rmtree(root / ".fetching", ignore_errors=True)  # what a killed server left
        self._series.mkdir(parents=True, exist_ok=True)

    def volume(self, entry: SeriesEntry) -> Path:
        """Return a series as NIfTI, fetching it if need be.

        Raises:
            DicomWebError: The server cannot be reached or did not send the whole series.
            InputError: The series is no volume: see `open_series` and `write_scan`.
        """
        path = self._root / f"{entry.uid}{VOLUME_SUFFIX}"
        with self._guard:
            lock = self._locks.setdefault(entry.uid, threading.Lock())
        with lock:
            if path.is_file():
                os.utime(path)
                return path
            self._fetch(entry, path)
        self._evict(keep=path)
        return path

    def series(self, entry: SeriesEntry) -> Series:
        """Return the headers of a series. Raises as `volume`."""
        self.volume(entry)
        return read_series(self._series / entry.uid)

    def forget(self, entry: SeriesEntry) -> None:
        """Let the copy of a series go; it is fetched anew when it is next needed."""
        with self._guard:
            self._remove(self._root / f"{entry.uid}{VOLUME_SUFFIX}")

    def _fetch(self, entry: SeriesEntry, path: Path) -> None:
        (self._root / ".fetching").mkdir(exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=self._root / ".fetching"))
        try:
            slices = folder / entry.uid
            slices.mkdir()
            self._server.download(entry, slices)
            volume = write_scan(open_series(slices), folder, "volume")
            target = self._series / entry.uid
            shutil.rmtree(target, ignore_errors=True)  # without a volume it is a leftover
            slices.rename(target)
            volume.rename(path)
        except InputError as error:
            raise type(error)(str(error).replace(str(slices), f"series {entry.uid}")) from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _remove(self, volume: Path) -> None:
        volume.unlink(missing_ok=True)
        shutil.rmtree(self._series / volume.name.removesuffix(VOLUME_SUFFIX), ignore_errors=True)

    def _evict(self, keep: Path) -> None:
        with self._guard:
            volumes = [(path.stat().st_mtime, path) for path in self._root.glob(f"*{VOLUME_SUFFIX}")]
            total = 0
            for _, path in sorted(volumes, reverse=True):
                folder = self._series / path.name.removesuffix(VOLUME_SUFFIX)
                total += sum(file.stat().st_size for file in (path, *folder.glob("*")))
                if total > self._limit_bytes and path != keep:
                    self._remove(path)
                    logger.info("removed series %s from this disk; the server still has it", folder.name)
