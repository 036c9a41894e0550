"""From JSON to plain typed values, whatever a server of another version sends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields
from functools import wraps
from typing import Any, TypeVar

from UncertaintySegLib.errors import ServerError

T = TypeVar("T")

SAME_VERSION = "are server and module of the same version?"


def parse(cls: type[T], data: dict[str, Any], **derived: Any) -> T:
    """Make a `cls` from JSON: keys it does not know are ignored, lists become tuples, null means the default.

    Args:
        cls: A dataclass.
        data: A JSON object.
        derived: Fields whose value is not that of the same key.

    Raises:
        ServerError: If a field without a default is missing, or `data` is no object; names what.
    """
    if not isinstance(data, dict):
        raise ServerError(f"The server's {cls.__name__} is no object: {SAME_VERSION}")
    values = dict(derived)
    for known in fields(cls):
        if known.name in values:
            continue
        value = _tuple(data.get(known.name))
        if value is not None:
            values[known.name] = value
        elif known.default is MISSING and known.default_factory is MISSING:
            raise ServerError(f"The server's {cls.__name__} lacks '{known.name}': {SAME_VERSION}")
    return cls(**values)


def _tuple(value: Any) -> Any:
    return tuple(_tuple(item) for item in value) if isinstance(value, list) else value


def tolerant(read: Callable[..., T]) -> Callable[..., T]:
    """Make whatever a strange reply does to a function a `ServerError`."""

    @wraps(read)
    def checked(*replies: dict[str, Any] | None) -> T:
        try:
            return read(*replies)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            reason = f"lacks {error}" if isinstance(error, KeyError) else f"is strange ({error})"
            raise ServerError(f"The server's answer {reason}: {SAME_VERSION}") from error

    return checked


def parse_all(cls: type[T], rows: list[dict[str, Any]] | None) -> tuple[T, ...]:
    """Make one `cls` of each row; see `parse`."""
    return tuple(parse(cls, row) for row in rows or ())
