"""The name of a result: a hash of everything it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from uncertaintyseg import NUMBERS
from uncertaintyseg.data.channels import Image, channel_files
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.time_axis import axis_said_beside
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import INFERENCE, Bundle
from uncertaintyseg.inference.content import content_hash


def scan_content(image: Image, bundle: Bundle) -> str:
    """Hash of all files of a scan that a model reads (hex SHA-256). Raises `InputError` when they cannot be read."""
    channels = channel_files(image, len(bundle.channels), bundle.channels)
    try:
        return content_hash(*(file for channel in channels for file in scan_files(channel)))
    except OSError as error:
        raise InputError(f"{image}: cannot be read ({error.strerror}).") from error


def result_key(
    image: Image,
    bundle: Bundle,
    *,
    seed: int,
    samples: int,
    device: str,
    asked: Mapping[str, Any] | None = None,
) -> str:
    """Name of the result that `Predictor.predict` would give: a hash of everything it depends on (hex SHA-256).

    Args:
        image: as of `read_channels`; all files that belong to it count, see `scan_files`.
        bundle: the model.
        seed: as of `Predictor.predict`.
        samples: as of `Predictor.predict`.
        device: torch device.
        asked: what the predictor was made with beside them, such as a method and its options; plain JSON.

    Raises:
        InputError: when the scan cannot be read.
    """
    content, channels = scan_content(image, bundle), channel_files(image, len(bundle.channels), bundle.channels)
    calibration, _ = bundle.calibration
    parts = {
        "image": content,
        "weights": bundle.checksum,
        "model": bundle.name,
        "config": hashlib.sha256((bundle.folder / INFERENCE).read_bytes()).hexdigest(),
        "seed": seed,
        "samples": samples,
        "device": device,
        "dtype": "float32",
        "numbers": NUMBERS,
        "calibration": calibration and calibration.checksum,
        **({"asked": dict(asked)} if asked else {}),
        **axis_said_beside(channels[0]),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
