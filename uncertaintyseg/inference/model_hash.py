"""Whether two model folders say the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from uncertaintyseg.inference.bundle import CALIBRATION, INFERENCE, SHIFT, Bundle
from uncertaintyseg.inference.methods import ensemble_members

_ENSEMBLE = "ensemble"


def model_hash(bundle: Bundle) -> str:
    """Of all that a run reads of a model's folder: configuration, weights, calibration (hex SHA-256).

    Of a head also the configuration of the model below it, and of a composite that of its parts.
    """
    digest = hashlib.sha256(bundle.checksum.encode())
    below = bundle.parts if bundle.uncertainty.parts else [bundle.base] if bundle.uncertainty.base else []
    configs = [path for model in (bundle, *below) for path in _configs(model)]
    for path in (*configs, bundle.folder / CALIBRATION, bundle.folder / SHIFT):
        if path.is_file():
            digest.update(f"{path.name}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()


def run_hash(bundle: Bundle, method: str | None, options: Mapping[str, Any], *folders: Path) -> str:
    """`model_hash` of the model that runs, and of an ensemble of all its members.

    Args:
        bundle: that runs, as of `methods.model_with`.
        method: as of `predictors.predictor_for`; so are the next two.
        options: of passes.
        folders: where further models are.

    Raises:
        InputError, BundleError: as `ensemble_members`.
    """
    own = model_hash(bundle)
    if method != _ENSEMBLE:
        return own
    hashes = [own, *map(model_hash, ensemble_members(bundle, options.get("models"), *folders))]
    return hashlib.sha256(" ".join(hashes).encode()).hexdigest()


def _configs(bundle: Bundle) -> list[Path]:
    return sorted((bundle.folder / INFERENCE.parent).glob("*.json"))
