"""What is remembered from one day to the next, in Slicer's settings store and never in a scene."""

from __future__ import annotations

from typing import Any

import slicer

_GROUP = "UncertaintySeg"

DEFAULTS: dict[str, Any] = {
    "serverUrl": "http://127.0.0.1:8000",
    "token": "",
    "clientId": "",
    "studies": "",
    "serverCommand": "uncertaintyseg",
    "strategy": "predictive_entropy",
    "model": "",
    "flatModel": "",
    "leaseMinutes": 120,
    "opacity": 0.6,
    "modelColors": False,
    "autosaveSeconds": 20,
    "editInsideRisk": True,
    "refitAfterSubmit": False,
    "segmentByItself": True,
    "prefetch": True,
    "keys": "",
    "readOnly": False,
    "reportFolder": "",
    "runs": "",
    "workFolder": "",
    "batchFolder": "",
}
"""Every key and what it is before anybody has set it; the type of the default is the type of the value."""


def value(key: str) -> Any:
    """Return a setting. Raises `KeyError` for one that is not in `DEFAULTS`."""
    default = DEFAULTS[key]
    stored = slicer.app.userSettings().value(f"{_GROUP}/{key}")
    if stored is None:
        return default
    if isinstance(default, bool):
        return str(stored).lower() in ("true", "1")
    try:
        return type(default)(stored)
    except ValueError:
        return default


def remember(key: str, new: Any) -> None:
    """Set a setting. Raises `KeyError` for one that is not in `DEFAULTS`."""
    default = DEFAULTS[key]
    slicer.app.userSettings().setValue(f"{_GROUP}/{key}", type(default)(new))
