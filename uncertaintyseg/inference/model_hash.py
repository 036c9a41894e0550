"""Whether two model folders say the same."""

from __future__ import annotations

import hashlib

from uncertaintyseg.inference.bundle import CALIBRATION, INFERENCE, SHIFT, Bundle


def model_hash(bundle: Bundle) -> str:
    """Of all that a run reads of a model's folder: configuration, weights, calibration (hex SHA-256)."""
    digest = hashlib.sha256(bundle.checksum.encode())
    configs = sorted((bundle.folder / INFERENCE.parent).glob("*.json"))
    for path in (*configs, bundle.folder / CALIBRATION, bundle.folder / SHIFT):
        if path.is_file():
            digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()
