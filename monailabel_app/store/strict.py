"""One reader and one writer of JSON: what is written can be read back, by any reader of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

from uncertaintyseg.errors import InputError

DEPTH = 32
"""Levels of lists and objects in one another."""
_LARGEST = 2**63
_NAME_LENGTH = 200  # of the place that a message names


def read(text: str | bytes, name: str) -> Any:
    """Return what a JSON text says.

    Raises:
        InputError: It is no JSON, or holds what `write` would refuse; the message begins with `name`.
    """
    try:
        value = json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise InputError(f"{name}: not JSON (nested deeper than {DEPTH} levels)") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not JSON ({error})") from error
    check(value, name)
    return value


def write(value: Any, name: str) -> str:
    """Return a value as JSON. Raises `InputError` where another reader could not read it; it begins with `name`."""
    check(value, name)
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def check(value: Any, name: str) -> None:
    """Raise `InputError` unless a value is made of JSON's own kinds: finite numbers of 64 bits, texts of Unicode."""
    todo = [(value, name, 1)]
    while todo:
        item, where, depth = todo.pop()
        if isinstance(item, dict | list | tuple):
            if depth > DEPTH:
                raise InputError(f"{where}: nested deeper than {DEPTH} levels")
            todo += [(part, place[:_NAME_LENGTH], depth + 1) for part, place in _parts(item, where)]
        else:
            _check_leaf(item, where)


def _parts(item: Any, where: str) -> Iterator[tuple[Any, str]]:
    if not isinstance(item, dict):
        yield from ((part, f"{where}[{i}]") for i, part in enumerate(item))
        return
    for key, part in item.items():
        if not isinstance(key, str):
            raise InputError(f"{where}: a key is {type(key).__name__}, not a text")
        _check_leaf(key, f"{where}: a key")
        yield part, f"{where}.{key}"


def _check_leaf(item: Any, where: str) -> None:
    if isinstance(item, str):
        try:
            item.encode()
        except UnicodeEncodeError as error:
            raise InputError(f"{where}: half of a character (a lone surrogate) in the text") from error
    elif isinstance(item, float):
        if not math.isfinite(item):
            raise InputError(f"{where}: {item} is no number in JSON")
    elif isinstance(item, int):  # booleans as well
        if not -_LARGEST <= item < _LARGEST:
            raise InputError(f"{where}: a whole number of more than 64 bits")
    elif item is not None:
        raise InputError(f"{where}: {type(item).__name__} is no kind of JSON")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number in JSON")
