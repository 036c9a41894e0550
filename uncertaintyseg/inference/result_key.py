"""The name of a result: a hash of everything it depends on."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

from uncertaintyseg import __version__
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, Bundle


def result_key(image: str | os.PathLike[str], bundle: Bundle, *, seed: int, samples: int, device: str) -> str:
    """Name of the result that `Predictor.predict` would give: a hash of everything it depends on (hex SHA-256).

    Raises:
        InputError: when the scan cannot be read.
    """
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
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _content_hash(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder in name order."""
    digest = hashlib.sha256()
    try:
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    return digest.hexdigest()
