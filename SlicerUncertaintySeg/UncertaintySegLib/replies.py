"""What the server answers, as plain typed values."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass, fields
from typing import Any, TypeVar

from UncertaintySegLib.errors import ServerError

T = TypeVar("T")


@dataclass(frozen=True)
class Label:
    """One structure a model segments; `id` is its voxel value, `rgb` is 0 to 255 (None: the viewer chooses)."""

    id: int
    name: str
    rgb: tuple[int, int, int] | None = None
    snomed: str | None = None


@dataclass(frozen=True)
class Model:
    """One model on the server. `head` and `bundle` are None where the server is a stock MONAI Label app."""

    name: str
    labels: tuple[Label, ...]
    head: str | None = None
    bundle: str | None = None
    maps: tuple[str, ...] = ()
    checksum: str | None = None
    description: str = ""


@dataclass(frozen=True)
class ServerInfo:
    """Who answers and what it offers."""

    name: str
    version: str
    models: dict[str, Model]
    strategies: tuple[str, ...]


@dataclass(frozen=True)
class Sample:
    """The case to look at next, and why; `score` is None where the strategy does not rank."""

    id: str
    score: float | None = None
    reason: str = ""


@dataclass(frozen=True)
class MapInfo:
    """How to read and fetch one risk map."""

    url: str
    unit: str
    range: tuple[float, float]
    source: str


@dataclass(frozen=True)
class Structure:
    """One row of the structure table; `volume_ml_95` is None where the head has no coherent samples."""

    name: str
    id: int
    volume_ml: float
    volume_ml_95: tuple[float, float] | None = None
    interval_method: str = ""
    mean_risk: float | None = None
    expected_dice: float | None = None
    flag: str | None = None


@dataclass(frozen=True)
class Job:
    """State of a queued, running or ended job. `fraction` is 0 to 1."""

    id: str
    state: str
    fraction: float = 0.0
    stage: str = ""
    queue_position: int = 0
    eta_s: float | None = None
    result: dict[str, Any] | None = None
    error: str | None = None


@dataclass(frozen=True)
class InferResult:
    """An inference: where its label and maps are, and what they say."""

    key: str
    label_url: str
    labels: tuple[Label, ...]
    maps: dict[str, MapInfo]
    structures: tuple[Structure, ...]
    provenance: dict[str, Any]


def parse(cls: type[T], data: dict[str, Any], **derived: Any) -> T:
    """Make a `cls` from JSON: keys it does not know are ignored, lists become tuples.

    Args:
        cls: One of the classes above.
        data: A JSON object.
        derived: Fields whose value is not that of the same key.

    Raises:
        ServerError: If a field without a default is missing; names the field.
    """
    values = dict(derived)
    for field in fields(cls):
        if field.name in values:
            continue
        if field.name in data:
            value = data[field.name]
            values[field.name] = tuple(value) if isinstance(value, list) else value
        elif field.default is MISSING:
            raise ServerError(
                f"The server's {cls.__name__} lacks '{field.name}': are server and module of the same version?"
            )
    return cls(**values)


def parse_labels(names: dict[str, int] | list[str], details: list[dict[str, Any]] = ()) -> tuple[Label, ...]:
    """Make labels from MONAI Label's `{name: id}` (or its older list of names), with colours where known.

    Args:
        names: What a model entry or a result calls its labels.
        details: Our own richer list: id, name, rgb, snomed.
    """
    if details:
        return tuple(parse(Label, entry, rgb=tuple(entry["rgb"]) if entry.get("rgb") else None) for entry in details)
    pairs = names.items() if isinstance(names, dict) else ((name, i) for i, name in enumerate(names, start=1))
    return tuple(Label(int(value), name) for name, value in pairs if int(value) > 0)


def parse_info(data: dict[str, Any]) -> ServerInfo:
    """Make a `ServerInfo` from the reply of `GET /info/`."""
    models = {
        name: parse(Model, entry, name=name, labels=parse_labels(entry.get("labels") or {}))
        for name, entry in data.get("models", {}).items()
    }
    return ServerInfo(
        name=str(data.get("name", "MONAI Label")),
        version=str(data.get("version", "")),
        models=models,
        strategies=tuple(data.get("strategies", {})),
    )


def _folder_name(key: str) -> str:
    """Return a result's key, which will name a folder on this computer: nothing in it may leave that folder."""
    if not re.fullmatch(r"[\w-]+", key):
        raise ServerError(f"The server names a result '{key}', which is not a key.")
    return key


def parse_result(data: dict[str, Any]) -> InferResult:
    """Make an `InferResult` from the result of an inference job.

    Raises:
        ServerError: If the result lacks a field that the viewer needs.
    """
    try:
        risk = data["risk"]
        return InferResult(
            key=_folder_name(risk["result"]),
            label_url=data["label"],
            labels=parse_labels(data["label_names"], data.get("labels", [])),
            maps={name: parse(MapInfo, entry) for name, entry in risk["maps"].items()},
            structures=tuple(
                parse(Structure, row, volume_ml_95=tuple(row["volume_ml_95"]) if row.get("volume_ml_95") else None)
                for row in risk["structures"]
            ),
            provenance=risk["provenance"],
        )
    except KeyError as missing:
        raise ServerError(
            f"The inference result lacks {missing}: are server and module of the same version?"
        ) from missing
