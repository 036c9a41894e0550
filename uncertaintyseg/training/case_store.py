"""Preprocessed cases in a folder: an entry is a folder of .npy files, which several trainings may share.

An entry appears whole, by the renaming of a folder, or not at all. What it holds is plain arrays; reading executes
nothing.
"""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import shutil
import time
import uuid
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.writing import sync_folder
from uncertaintyseg.errors import InputError, StorageError
from uncertaintyseg.training.patches import VOXELS

UNUSED_DAYS = 30
"""An entry that no training asked for in so many days is deleted by the next one."""
_ABOUT, _SCRATCH, _SUFFIX = "about.json", ".writing-", ".npy"
_NAME = re.compile(r"[0-9a-f]{32}")
_DAY = 24 * 3600
_BLOCK = 1 << 24
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_BOTH = ("image", "label")


class CaseStore:
    """The entries of a folder.

    Args:
        folder: is made when something is kept.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen: dict[str, dict[str, Any]] = {}

    def has(self, key: str) -> bool:
        """Whether there is such an entry, sound or not."""
        return (self.folder / key / _ABOUT).is_file()

    def keep(self, key: str, case: Mapping[str, Any]) -> None:
        """Write an entry, in place of a damaged one; whoever was first with a sound one keeps it.

        Args:
            key: 32 hexadecimal digits.
            case: "image" and "label" `[channels, *spatial]`, and "voxels" as of `StructureVoxels`.

        Raises:
            StorageError: the disk or the quota is full; nothing of the entry is left.
            InputError: it cannot be written for another reason.
        """
        scratch = self.folder / f"{_SCRATCH}{uuid.uuid4().hex}"
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # scans of patients: for their user's eyes
            try:
                scratch.mkdir()
                entry = scratch / key
                entry.mkdir()
                _write(entry, case)
                self._move_in(entry, key)
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
            sync_folder(self.folder)
        except OSError as error:
            way = "name a folder on another disk with --cache-folder, or read scans anew each time with --cache none."
            if error.errno in _NO_ROOM:
                raise StorageError(
                    f"{self.folder}: the disk is full, with {_free(self.folder)} left, before all preprocessed cases "
                    f"were on it. Those that are stay for the next time. Make room, {way}"
                ) from error
            raise InputError(
                f"{self.folder}: preprocessed cases cannot be kept there ({error.strerror or error}): {way}"
            ) from error

    def read(self, key: str, *, patches: bool = False) -> dict[str, Any] | None:
        """An entry, memory-mapped: what is not looked at is not read, and changes stay with who makes them.

        Args:
            key: of the entry.
            patches: with "voxels", and the label in its small type, of which `PatchDrawn` converts what it needs.

        Returns:
            What was kept; None where it is absent or cut short.
        """
        folder = self.folder / key
        try:
            about = self._seen.get(key) or _about(folder)
            # "c" and not "r": torch would write through a read-only array, which ends the process.
            arrays = {
                name: np.load(folder / f"{name}{_SUFFIX}", mmap_mode="c", allow_pickle=False)
                for name in about["files"]
                if patches or name != VOXELS
            }
        except (OSError, EOFError, ValueError):
            self._seen.pop(key, None)
            return None
        self._seen[key] = about
        found = {name: torch.from_numpy(arrays[name]) for name in _BOTH}
        if not patches:
            found["label"] = found["label"].to(getattr(torch, about["label"]))
        for name in _BOTH:
            if _affine_of(name) in arrays:
                found[name] = MetaTensor(found[name], affine=torch.tensor(np.array(arrays[_affine_of(name)])))
        if patches:
            counts = about[VOXELS]
            parts = torch.from_numpy(arrays[VOXELS]).split([n for _, n in counts]) if counts else ()
            found[VOXELS] = {class_id: part for (class_id, _), part in zip(counts, parts, strict=True)}
        return found

    def check(self, key: str) -> bool:
        """Whether an entry is there, byte for byte as it was written; a sound one counts as used now."""
        folder = self.folder / key
        self._seen.pop(key, None)
        try:
            for name, (size, checksum) in _about(folder)["files"].items():
                path = folder / f"{name}{_SUFFIX}"
                if path.stat().st_size != size or _checksum(path) != checksum:
                    return False
        except (OSError, ValueError):
            return False
        with contextlib.suppress(OSError):  # of somebody else
            os.utime(folder / _ABOUT)
        return True

    def clean(self, *, keep: Collection[str] = ()) -> None:
        """Delete what no training has used for long, and what killed ones left half-written; but not what to `keep`."""
        with contextlib.suppress(OSError):
            for path in list(self.folder.iterdir()):
                with contextlib.suppress(OSError):
                    if path.name.startswith(_SCRATCH) and _age(path) > _DAY:
                        shutil.rmtree(path)
                    elif (
                        path.name not in keep
                        and _NAME.fullmatch(path.name)
                        and _age(path / _ABOUT) > UNUSED_DAYS * _DAY
                    ):
                        away = self.folder / f"{_SCRATCH}{uuid.uuid4().hex}"
                        path.rename(away)  # at once, so that nobody finds a part of it
                        shutil.rmtree(away)

    def size(self) -> tuple[int, int]:
        """Bytes and number of all entries."""
        entries = [path.parent for path in self.folder.glob(f"*/{_ABOUT}") if _NAME.fullmatch(path.parent.name)]
        sizes = 0
        for file in (file for entry in entries for file in entry.glob("*")):
            with contextlib.suppress(OSError):  # deleted meanwhile
                sizes += file.stat().st_size
        return sizes, len(entries)

    def _move_in(self, entry: Path, key: str) -> None:
        target = self.folder / key
        if target.exists():
            if self.check(key):
                return
            with contextlib.suppress(FileNotFoundError):
                target.rename(entry.with_name("damaged"))
        try:
            entry.rename(target)
        except OSError:
            if not self.check(key):  # else another training was first
                raise


def _write(entry: Path, case: Mapping[str, Any]) -> None:
    arrays = {name: np.ascontiguousarray(torch.as_tensor(case[name]).as_subclass(torch.Tensor)) for name in _BOTH}
    label = str(arrays["label"].dtype)
    arrays["label"] = _small(arrays["label"])
    for name in _BOTH:
        if isinstance(case[name], MetaTensor):
            arrays[_affine_of(name)] = np.asarray(case[name].affine.as_subclass(torch.Tensor))
    voxels = case[VOXELS]
    if voxels:
        arrays[VOXELS] = np.concatenate([np.asarray(voxels[class_id]) for class_id in sorted(voxels)])
    files = {name: _write_array(entry / f"{name}{_SUFFIX}", array) for name, array in arrays.items()}
    counts = [[class_id, len(voxels[class_id])] for class_id in sorted(voxels)]
    body = json.dumps({"files": files, "label": label, VOXELS: counts}).encode()
    _write_whole(entry / _ABOUT, [b"%08x\n" % zlib.crc32(body), body])
    sync_folder(entry)


def _small(label: np.ndarray) -> np.ndarray:
    """Class indices in the fewest bytes that hold them; what is none stays as it is."""
    for kind in (np.int8, np.int16):
        limits = np.iinfo(kind)
        if label.size and limits.min <= label.min() and label.max() <= limits.max:
            small = label.astype(kind)
            return small if np.array_equal(small, label) else label
    return label


def _write_array(path: Path, array: np.ndarray) -> tuple[int, int]:
    """Size and checksum of the file. Not `np.save`, which tells of a full disk without saying that it is full."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    data = memoryview(array.reshape(-1).view(np.uint8))
    blocks = [header.getvalue(), *(data[start : start + _BLOCK] for start in range(0, len(data), _BLOCK))]
    return _write_whole(path, blocks)


def _write_whole(path: Path, blocks: list[bytes | memoryview]) -> tuple[int, int]:
    size = checksum = 0
    with path.open("xb") as file:
        for block in blocks:
            file.write(block)
            size, checksum = size + len(block), zlib.crc32(block, checksum)
        file.flush()
        os.fsync(file.fileno())  # else a power cut could leave zeros under a name that says it is whole
    return size, checksum


def _about(folder: Path) -> dict[str, Any]:
    """What an entry says of itself; ValueError where that is damaged."""
    checksum, _, body = (folder / _ABOUT).read_bytes().partition(b"\n")
    if int(checksum, 16) != zlib.crc32(body):
        raise ValueError(f"{folder}: damaged")
    return json.loads(body)


def _checksum(path: Path) -> int:
    found = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found = zlib.crc32(block, found)
    return found


def _affine_of(name: str) -> str:
    return f"{name}_affine"


def _age(path: Path) -> float:
    """Seconds since it was changed."""
    return time.time() - path.stat().st_mtime


def _free(folder: Path) -> str:
    return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
