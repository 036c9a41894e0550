"""Stand-ins as strict as what PythonQt lets Python reach of the classes that they stand for.

`scriptable.json` has the slots, invokable methods, properties and signals of those classes, read from their headers by
`read_headers.py`; `Testing/Python/slicer_host/test_scriptable.py` compares every stand-in with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from PySide6 import QtCore

STAND_INS: dict[str, type] = {}
"""The classes of this package by the names of those that they stand for."""

_connections: WeakKeyDictionary[QtCore.QObject, list[tuple]] = WeakKeyDictionary()


@cache
def table() -> dict[str, dict[str, Any]]:
    """Return what can be reached of each class."""
    return json.loads(Path(__file__).with_name("scriptable.json").read_text())["classes"]


def stand_in(name: str) -> Callable[[type], type]:
    """Say which class one of ours stands for.

    Its objects then refuse attributes that they have not, as PythonQt's do, and those of Qt classes have
    `connect("signal(type)", f)`: PySide6 looks for that in the class itself, not in its bases.
    """

    def register(cls: type) -> type:
        STAND_INS[name] = cls
        cls.__setattr__ = _strict(cls.__setattr__)
        if issubclass(cls, QtCore.QObject):
            cls.connect, cls.disconnect = _connect, _disconnect
        return cls

    return register


def _strict(set_attribute: Callable[[object, str, object], None]) -> Callable[[object, str, object], None]:
    def strict(self: object, name: str, value: object) -> None:
        if not name.startswith("_") and not hasattr(type(self), name):
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}, and C++ objects get no new ones")
        set_attribute(self, name, value)

    return strict


def _connect(self: QtCore.QObject, signature: str, receiver: Callable[..., object]) -> bool:
    """Call back with as many arguments as the signature names: none for "clicked()", one for "clicked(bool)".

    Raises:
        AttributeError: There is no signal of that name with those types. (PythonQt returns False, and nothing happens.)
    """
    name, _, types = signature.rstrip(")").partition("(")
    known = next((table()[of]["signals"].get(name) for of, cls in STAND_INS.items() if cls is type(self)), None)
    if known is not None and types not in known:
        raise AttributeError(f"{type(self).__name__} has no signal {signature}: its types are {' or '.join(known)}")
    count = len(types.split(",")) if types else 0

    def call(*arguments: object) -> object:
        return receiver(*arguments[:count])

    getattr(self, name).connect(call)
    _connections.setdefault(self, []).append((signature, receiver, call))
    return True


def _disconnect(self: QtCore.QObject, signature: str, receiver: Callable[..., object]) -> bool:
    connections = _connections.get(self, [])
    found = next((known for known in connections if known[:2] == (signature, receiver)), None)
    if found is None:
        return False
    connections.remove(found)
    getattr(self, signature.partition("(")[0]).disconnect(found[2])
    return True
