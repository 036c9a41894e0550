"""Checksums that clients compare: of a scan's file as it is here, and of the one that it was uploaded as."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.content import content_hash

UPLOADED, WRITTEN = "checksum", "written_checksum"
"""In the record of an image: SHA-256 of the client's file, and of the file that this server wrote for it."""
_ALGORITHMS = ("SHA256", "SHA512", "MD5")
_BLOCK = 2**20


def is_checksum_of(check_sum: str, path: Path, record: Mapping[str, Any]) -> bool:
    """Whether a scan is the file that a client has.

    Args:
        check_sum: SHA-256 in hex, or another digest as `MD5:...`, `SHA256:...` or `SHA512:...`.
        path: of the scan.
        record: of its image. What was uploaded counts as long as the file is the one that was written for it.

    Raises:
        InputError: An algorithm that is not known, or other than SHA256 for a scan of several files.
    """
    algorithm, _, digest = check_sum.rpartition(":")
    algorithm = algorithm.upper() or _ALGORITHMS[0]
    if algorithm not in _ALGORITHMS:
        raise InputError(f"check_sum: {algorithm[:20]!r} is none of {', '.join(_ALGORITHMS)}")
    if algorithm != "SHA256":
        if path.is_dir() or len(scan_files(path)) > 1:
            raise InputError(f"check_sum: this scan is several files, which have no {algorithm}; leave check_sum out")
        return _digest(path, algorithm) == digest.lower()
    here = content_hash(path)
    return digest.lower() in ({here, record.get(UPLOADED)} if record.get(WRITTEN) == here else {here})


def _digest(path: Path, algorithm: str) -> str:
    found = hashlib.new(algorithm.lower(), usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            found.update(block)
    return found.hexdigest()
