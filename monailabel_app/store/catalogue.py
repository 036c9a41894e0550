"""Which scans a studies folder holds, as people have it, and what is left out, with the reason.

Ids are names of files for labels, so a scan keeps its id whatever else comes into the folder: a file directly in it has
its name without the ending, anything deeper the names of its folders before its own, with `__` between:
`ward/week/a.nii` is `ward__week__a`. (The name alone, where no other scan has it, would change when one comes; a `+`
would be a space in a URL.) Where two scans would have one id nobody can say whose labels they are: neither is served,
but one file directly in the folder keeps its id.

A folder that holds nothing but pictures is a clip, unless it is called `images`; elsewhere each picture is an image.
Beside volumes pictures are previews and passed over, unless some in the folder have been images before. Each ultrasound
DICOM is an image or a clip of its own.
"""

from __future__ import annotations

import functools
import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from monailabel_app.names import checked_name
from monailabel_app.store.channels import joined
from uncertaintyseg.data.images import frames_in, is_picture
from uncertaintyseg.data.scan import IMAGE_SUFFIXES
from uncertaintyseg.data.scan_files import is_dicom
from uncertaintyseg.data.ultrasound import is_flat
from uncertaintyseg.errors import InputError

SEPARATOR = "__"
"""Between the names of folders in an id."""

_OWN_FOLDERS = ("labels", "versions")
_OWN_FILES = ("datastore_v2.json", "studies.sqlite", "backup.sqlite")
"""What the server keeps in the folder; endings may follow."""
_NO_SCANS = (
    ".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".html", ".pdf", ".gif",
    ".svg", ".doc", ".docx", ".xls", ".xlsx", ".ppt", ".pptx", ".odt", ".ods", ".rtf", ".log", ".ini", ".toml",
    ".cfg", ".py", ".ipynb", ".sh", ".bat", ".m", ".db", ".mrml", ".fcsv", ".bval", ".bvec", ".sha256", ".md5",
)  # fmt: skip
"""Endings of files that nobody takes for a scan."""
_VOXELS = (".raw", ".zraw", ".raw.gz", ".img")
"""Of a header with the same name."""
_HEADERS = (".mhd", ".nhdr")
_SERIES_UID, _CLASS_UID = Tag(0x0020, 0x000E), Tag(0x0008, 0x0016)
_NO_CLIP = "images"
"""Name of a folder whose pictures are images of their own, as in a data set."""
_SERIES_REMEMBERED = 2**17


@dataclass(frozen=True)
class Catalogue:
    """What a folder holds.

    Attributes:
        scans: file, or folder with the slices of one DICOM series or the frames of a clip, by id.
        skipped: one sentence on why it is no scan, by path relative to the folder, with `/`.
    """

    scans: dict[str, Path]
    skipped: dict[str, str]


def find_scans(
    folder: Path,
    counts: Collection[int] = (),
    labelled: Collection[str] = (),
    cases: Collection[str] = (),
    known: Collection[str] = (),
) -> Catalogue:
    """Look through a studies folder; names and the first bytes of DICOM files are read, never voxels.

    Links to files and to folders of DICOM slices or frames are served: removing such a scan removes the link. Behind a
    link to any other folder nothing is looked for, since removing a scan there would remove somebody else's file.

    Args:
        folder: of the studies.
        counts: of channels that a scan may have beside one.
        labelled: ids of what has labels, see `channels.joined`.
        cases: ids of scans of several channels that are known.
        known: files of scans that are known, relative to the folder.

    Raises:
        InputError: It cannot be read.
    """
    found: dict[Path, str] = {}
    skipped: dict[Path, str] = {}
    ahead = [folder]
    while ahead:
        here = ahead.pop()
        try:
            with os.scandir(here) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            if here == folder:
                raise InputError(f"{folder}: cannot be read ({error.strerror}); check the path") from error
            skipped[here] = f"cannot be read ({error.strerror})"
            continue
        look = _Folder(here, listed, is_top=here == folder)
        look.take_pictures({folder / file for file in known})
        ahead += look.folders
        found |= {path: SEPARATOR.join((*path.relative_to(folder).parent.parts, name)) for path, name in look.found}
        skipped |= look.skipped
    if counts or cases:
        found = joined(found, counts, set(labelled), cases)
    scans = dict(_named(found, folder, skipped))
    return Catalogue(
        dict(sorted(scans.items())),
        {path.relative_to(folder).as_posix(): reason for path, reason in sorted(skipped.items())},
    )


class _NoScanError(Exception):
    """Says why."""


class _Folder:
    """One folder, looked at.

    Attributes:
        folders: to look into.
        found: scans in it with their names; the folder itself where it holds a series.
        skipped: reasons by path.
    """

    def __init__(self, path: Path, entries: Sequence[os.DirEntry], *, is_top: bool) -> None:
        self.folders: list[Path] = []
        self.found: list[tuple[Path, str]] = []
        self.skipped: dict[Path, str] = {}
        self._path, self._is_top = path, is_top
        self._pictures: list[Path] = []
        self._headers = {Path(entry.name).stem.lower() for entry in entries if entry.name.lower().endswith(_HEADERS)}
        slices: list[os.DirEntry] = []
        for entry in entries:
            if not self._says_nothing(entry, is_top):
                with self._reason_for(path / entry.name):
                    self._look_at(entry, slices)
        if len(slices) > 1 or is_top:
            flat = [entry for entry in slices if _about(entry).is_flat]
            self.found += [(Path(entry.path), _stem_of_dicom(entry.name)) for entry in flat]
            slices = [entry for entry in slices if entry not in flat]
        self._has_volumes = bool(slices and not is_top) or any(_suffix(file.name) for file, _ in self.found)
        if slices and is_top:
            reason = (
                f"one of {len(slices)} DICOM files directly in the studies; put each series into a folder of its own"
            )
            self.skipped[path / slices[0].name] = reason
        elif slices:
            with self._reason_for(path):
                self._take_series(path, slices)

    def take_pictures(self, known: Collection[Path]) -> None:
        """Take up the pictures of the folder; `known` are the files of scans that were served before."""
        if not self._pictures or (self._has_volumes and known.isdisjoint(self._pictures)):
            return
        if not self._is_top and self._path.name.lower() != _NO_CLIP and frames_in(self._path):
            self.found.append((self._path, self._path.name))
            return
        self.found += [(path, path.name[: -len(path.suffix)]) for path in self._pictures]

    @contextmanager
    def _reason_for(self, path: Path) -> Iterator[None]:
        try:
            yield
        except _NoScanError as reason:
            self.skipped[path] = str(reason)
        except OSError as error:
            self.skipped[path] = f"cannot be read ({error.strerror})"

    def _says_nothing(self, entry: os.DirEntry, is_top: bool) -> bool:
        """Whether nobody takes it for a scan."""
        name = entry.name.lower()
        if name.startswith("."):
            return not (name.startswith("._") and _suffix(name))
        if is_top and (entry.name in _OWN_FOLDERS or entry.name.startswith(_OWN_FILES)):
            return True
        has_header = any(name.endswith(s) and name[: -len(s)] in self._headers for s in _VOXELS)
        return has_header or name.endswith(_NO_SCANS) or name == "dicomdir"

    def _look_at(self, entry: os.DirEntry, slices: list[os.DirEntry]) -> None:
        path, suffix = Path(entry.path), _suffix(entry.name)
        if entry.is_symlink() and not path.exists():
            raise _NoScanError("a link to nothing")
        if entry.is_dir():
            self._look_into(entry)
        elif entry.name.startswith("._"):
            raise _NoScanError("left by macOS beside the file of that name")
        elif not entry.is_file():
            raise _NoScanError("neither a file nor a folder")
        elif (suffix or is_picture(path)) and not entry.stat().st_size:
            raise _NoScanError("an empty file")
        elif entry.name.lower().endswith(".seg.nrrd"):
            raise _NoScanError("a segmentation, not a scan")
        elif suffix:
            self.found.append((path, entry.name[: -len(suffix)]))
        elif is_picture(path):
            self._pictures.append(path)
        elif is_dicom(path):
            slices.append(entry)
        else:
            raise _NoScanError(f"neither DICOM nor a volume ({', '.join(IMAGE_SUFFIXES)})")

    def _look_into(self, entry: os.DirEntry) -> None:
        if entry.name.lower() in _OWN_FOLDERS:
            raise _NoScanError("labels are read from the folder labels directly in the studies alone")
        if not entry.is_symlink():
            self.folders.append(Path(entry.path))
            return
        if frames_in(Path(entry.path)):
            self.found.append((Path(entry.path), entry.name))
            return
        with os.scandir(entry.path) as inside:
            slices = [file for file in inside if not file.name.startswith(".") and _is_slice(file)]
        if not slices:
            raise _NoScanError("a link to a folder without DICOM slices or frames; link its scans one by one")
        self._take_series(Path(entry.path), slices)

    def _take_series(self, path: Path, slices: Sequence[os.DirEntry]) -> None:
        series = {_about(file).series for file in slices}
        if len(series) > 1:
            raise _NoScanError(f"holds {len(series)} DICOM series; put each into a folder of its own")
        if series == {None}:
            raise _NoScanError("its DICOM files cannot be read, or belong to no series")
        self.found.append((path, path.name))


def _stem_of_dicom(name: str) -> str:
    return name[: -len(".dcm")] if name.lower().endswith(".dcm") else name


def _suffix(name: str) -> str:
    return next((suffix for suffix in IMAGE_SUFFIXES if name.lower().endswith(suffix)), "")


def _named(found: dict[Path, str], folder: Path, skipped: dict[Path, str]) -> Iterator[tuple[str, Path]]:
    """Ids with their scans; those that cannot have one get a reason.

    Names that differ in case alone are one name to some systems. Files directly in the folder have lived with theirs.
    """
    alike: dict[str, list[Path]] = defaultdict(list)
    for path, name in found.items():
        alike[name.casefold()].append(path)
    for paths in alike.values():
        direct = [path for path in paths if path.parent == folder and not path.is_dir()]
        for path in paths:
            rivals = [other for other in direct if found[other] == found[path]] if path in direct else paths
            others = [other.relative_to(folder).as_posix() for other in rivals if other != path]
            if others:
                skipped[path] = f"would be {found[path]!r} like {', '.join(sorted(others)[:3])}; rename one of them"
                continue
            try:
                yield checked_name("the id of a scan", found[path]), path
            except InputError as error:
                skipped[path] = str(error)


def _is_slice(entry: os.DirEntry) -> bool:
    try:
        return is_dicom(Path(entry.path))
    except OSError:
        return False


class _Dicom(NamedTuple):
    """What of a DICOM file counts here.

    Attributes:
        series: SeriesInstanceUID; None where that cannot be read.
        is_flat: whether it is ultrasound, an image or a clip without a place in space.
    """

    series: str | None = None
    is_flat: bool = False


def _about(entry: os.DirEntry) -> _Dicom:
    status = entry.stat()
    return _read_about(Path(entry.path), status.st_size, status.st_mtime_ns)


@functools.lru_cache(_SERIES_REMEMBERED)
def _read_about(path: Path, _size: int, _changed: int) -> _Dicom:
    """What a DICOM file is; its header is read up to there, once."""

    def is_behind(tag: BaseTag, _vr: str | None, _length: int) -> bool:
        return tag > _SERIES_UID

    try:
        with path.open("rb") as file:
            found = read_partial(file, stop_when=is_behind, specific_tags=[_SERIES_UID, _CLASS_UID])
        return _Dicom(found.get("SeriesInstanceUID") and str(found.SeriesInstanceUID), is_flat([found]))
    except Exception:  # noqa: BLE001 - pydicom lets through what it meets: struct.error, RecursionError, KeyError
        return _Dicom()
