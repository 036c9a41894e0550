"""The name of a result: a hash of everything it depends on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from uncertaintyseg import __version__
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, Bundle

_SETTLED_NS = 2 * 10**9
"""A file changed more recently is read again: a second change might leave the same time stamp."""


def result_key(
    image: str | os.PathLike[str],
    bundle: Bundle,
    *,
    seed: int,
    samples: int,
    device: str,
    asked: Mapping[str, Any] | None = None,
) -> str:
    """Name of the result that `Predictor.predict` would give: a hash of everything it depends on (hex SHA-256).

    Args:
        image: file, or folder of a DICOM series.
        bundle: the model.
        seed: as of `Predictor.predict`.
        samples: as of `Predictor.predict`.
        device: torch device.
        asked: what the predictor was made with beside them, such as a method and its options; plain JSON.

    Raises:
        InputError: when the scan cannot be read.
    """
    calibration, _ = bundle.calibration
    parts = {
        "image": _content_hash(Path(image)),
        "weights": bundle.checksum,
        "model": bundle.name,
        "config": hashlib.sha256((bundle.folder / INFERENCE).read_bytes()).hexdigest(),
        "seed": seed,
        "samples": samples,
        "device": device,
        "dtype": "float32",
        "code": __version__,
        "calibration": calibration and calibration.checksum,
        **({"asked": dict(asked)} if asked else {}),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder in name order; read again only when one has changed."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        stats = [file.stat() for file in files]
        stamps = tuple(
            (str(file), stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
            for file, stat in zip(files, stats, strict=True)
        )
        changed = max((max(stat.st_mtime_ns, stat.st_ctime_ns) for stat in stats), default=0)
        settled = time.time_ns() - changed > _SETTLED_NS
        return _hashed(stamps) if settled else _hashed.__wrapped__(stamps)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error


@lru_cache(maxsize=4096)
def _hashed(stamps: tuple[tuple[str, int, int, int, int], ...]) -> str:
    digest = hashlib.sha256()
    for name, *_ in stamps:
        digest.update(Path(name).read_bytes())
    return digest.hexdigest()
