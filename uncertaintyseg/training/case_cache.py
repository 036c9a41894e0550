"""Where the preprocessed cases of a fit are: in memory, on disk, or nowhere, and why."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import monai
import platformdirs
import torch
from monai.bundle import ReferenceResolver

import uncertaintyseg
from uncertaintyseg.data.channels import channel_files
from uncertaintyseg.data.layouts import Case
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.derived import PREPROCESSING
from uncertaintyseg.inference.stream.need import free_memory
from uncertaintyseg.training.case_sizes import CaseSize, case_size
from uncertaintyseg.training.case_store import UNUSED_DAYS, CaseStore

Wanted = Literal["auto", "memory", "disk", "none"]
Kind = Literal["memory", "disk", "none"]
SHARE = 0.5
"""Of the free memory that cases may take: the rest is for the network and what it reads."""
MARGIN = 2e9
"""Bytes of the disk that cases leave free, for checkpoints and other programs."""
_VERSION = 2
"""Raised when what an entry holds changes."""
_PREPARING = 6
"""Times its size in memory that a case takes while it is preprocessed."""
_ASKED = "as asked"


@dataclass(frozen=True)
class Held:
    """How the cases of a fit are held.

    Attributes:
        kind: "memory", "disk", or "none": made anew whenever they are needed.
        why: in words.
        size: of all of them, estimated from their headers.
        workers: threads that make them, as memory allows.
        folder: of the entries on disk.
    """

    kind: Kind
    why: str
    size: CaseSize
    workers: int
    folder: Path

    @property
    def where(self) -> str:
        """For a line of progress."""
        return {"memory": "into memory", "disk": "onto the disk", "none": "anew each time"}[
            self.kind
        ] + f" ({self.why})"

    @property
    def sentence(self) -> str:
        """What is left of it after the fit."""
        if self.kind != "disk":
            held = "were held in memory" if self.kind == "memory" else "were read anew each time"
            return f"The preprocessed cases {held} ({self.why})."
        size, count = CaseStore(self.folder).size()
        return (
            f"The preprocessed cases are on disk ({self.why}), in {self.folder}: {gigabytes(size)} of {count} cases, "
            f"those of other trainings too. What none uses for {UNUSED_DAYS} days goes; while none runs you may delete "
            "it all."
        )

    def as_json(self) -> dict[str, Any]:
        """For reports."""
        return {
            "kind": self.kind, "why": self.why, "memory_bytes": self.size.memory, "disk_bytes": self.size.disk,
            "folder": str(self.folder) if self.kind == "disk" else None,
        }  # fmt: skip


def user_cases() -> Path:
    """The folder of preprocessed cases among the user's caches."""
    return platformdirs.user_cache_path("uncertaintyseg") / "cases"


def choose(wanted: Wanted, size: CaseSize, missing: int, free: int, room: int, folder: Path) -> tuple[Kind, str]:
    """Where cases are held, and why.

    Args:
        wanted: by the user.
        size: of all cases.
        missing: bytes of those that are not on the disk yet.
        free: bytes of memory.
        room: bytes of the disk.
        folder: on that disk.

    Raises:
        InputError: neither memory nor disk have room for them.
    """
    if wanted in ("memory", "none"):
        return wanted, _ASKED
    fits = missing == 0 or missing + MARGIN <= room
    if wanted == "auto" and size.memory <= SHARE * free:
        return "memory", f"{gigabytes(size.memory)} of the {gigabytes(free)} that are free"
    many = f"{gigabytes(size.memory)} are more than half of the {gigabytes(free)} of memory that are free"
    if fits:
        return "disk", _ASKED if wanted == "disk" else many
    asked = "" if wanted == "disk" else f"{many}, and "
    raise InputError(
        f"the preprocessed cases do not fit: {asked}{gigabytes(missing)} of them have to go to {folder}, whose disk "
        f"has {gigabytes(room)} and should keep {gigabytes(MARGIN)}. Make room, name a folder on another disk with "
        "--cache-folder, or read the scans anew each time with --cache none, which is slow."
    )


def hold(bundle: Bundle, cases: Sequence[Case], wanted: Wanted = "auto", folder: Path | None = None) -> Held:
    """Decide where the labelled ones of the cases are held.

    Args:
        bundle: whose preprocessing and grid it is.
        cases: of the whole fit.
        wanted: "auto": in memory if they take at most half of what is free, else on disk.
        folder: of entries on disk; None: among the user's caches.

    Raises:
        InputError: neither memory nor disk have room for them, or a file of a case is missing.
    """
    if folder and wanted in ("memory", "none"):
        raise InputError(f"--cache-folder is for cases on disk, and --cache {wanted} puts none there: leave out one.")
    folder = (folder or user_cases()).absolute()
    cases = [case for case in cases if case.label]
    sizes, size = _sizes(bundle, cases)
    free, missing = free_memory(), 0
    if wanted == "disk" or (wanted == "auto" and size.memory > SHARE * free):
        store, keys = CaseStore(folder), case_keys(bundle, cases)
        store.clean(keep=keys)
        missing = sum(one.disk for one, key in zip(sizes, keys, strict=True) if not store.has(key))
    kind, why = choose(wanted, size, missing, free, room_in(folder), folder)
    largest = max((one.memory for one in sizes), default=0)
    workers = min(os.cpu_count() or 1, math.floor(SHARE * free / max(_PREPARING * largest, 1)))
    return Held(kind, why, size, max(workers, 1), folder)


def _sizes(bundle: Bundle, cases: Sequence[Case]) -> tuple[list[CaseSize], CaseSize]:
    channels, spacing = len(bundle.channels), bundle.config.get("spacing")
    sizes = [case_size(case, channels, len(bundle.labels), spacing) for case in cases]
    return sizes, CaseSize.together(sizes)


def room_in(folder: Path) -> int:
    """Bytes that the disk of a folder has left; the folder need not be there yet."""
    there = next((path for path in (folder, *folder.parents) if path.exists()), Path.cwd())
    return shutil.disk_usage(there).free


def gigabytes(count: float) -> str:
    """Bytes as people say them."""
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def case_keys(bundle: Bundle, cases: Sequence[Case]) -> list[str]:
    """Names of the entries of labelled cases: others as soon as a file, or anything that makes a case of it, changes.

    Raises:
        InputError: a file is missing.
    """
    meaning, channels = _meaning(bundle), len(bundle.channels)
    return [_key(case, channels, meaning) for case in cases]


def _key(case: Case, channels: int, meaning: list[Any]) -> str:
    paths = [*channel_files(case.image, channels), case.label, *([case.verified] if case.verified else [])]
    files = [[_stamp(file) for file in scan_files(path)] for path in paths]
    content = [_VERSION, files, bool(case.verified), case.own_ids, meaning]
    return hashlib.blake2b(json.dumps(content).encode(), digest_size=16).hexdigest()


def _stamp(file: Path) -> list[Any]:
    """By its whole path: in TotalSegmentator's folders all files have the same names."""
    stat = file.stat()
    return [str(file.resolve()), stat.st_size, stat.st_mtime_ns]


def _meaning(bundle: Bundle) -> list[Any]:
    """All that a preprocessed case depends on but for its files."""
    versions = [uncertaintyseg.__version__, uncertaintyseg.NUMBERS, monai.__version__, torch.__version__]
    return [versions, *_section(bundle), _as_pairs(bundle.label_reading)]


def _section(bundle: Bundle) -> list[Any]:
    """The preprocessing, and what it refers to; a model that takes its base's shares the entries of that."""
    section = bundle.config.get("preprocessing")
    if bundle.base and isinstance(section, dict) and section.get("_target_") == PREPROCESSING:
        return _section(bundle.base)
    named = _named(bundle, section)
    found: list[Any] = [section, {name: value for name, value in named.items() if name != "bundle_root"}]
    if "bundle_root" in named:  # a program in the model's folder has a part in it
        found.append([_stamp(path) for path in sorted(bundle.folder.rglob("*")) if path.is_file()])
    return found


def _as_pairs(reading: dict[str, Any]) -> list[Any]:
    return [reading["ignore"], sorted((reading["values"] or {}).items())]


def _named(bundle: Bundle, section: Any) -> dict[str, Any]:
    """What a section of the configuration refers to as @name, and what that refers to, by name."""
    found: dict[str, Any] = {}
    waiting = [section]
    while waiting:
        for text in _texts(waiting.pop()):
            for name in ReferenceResolver.match_refs_pattern(text):
                if name not in found:
                    found[name] = bundle.config.get(name)
                    waiting.append(found[name])
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
