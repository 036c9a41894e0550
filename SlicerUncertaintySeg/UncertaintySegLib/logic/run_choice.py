"""How a model is run: by which method and settings, for which structures; remembered for each model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from UncertaintySegLib.logic import settings
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.server.choices import EXAMPLES, Method, RunOption
from UncertaintySegLib.server.replies import Model

_KEY = "runs"
_METHOD, _OPTIONS, _RUN, _STRUCTURES = "method", "options", "run", "structures"
_MOST = 50
"""So many models are remembered."""


class RunChoice:
    """What was chosen for runs of each model; what a server does not offer any more is as though it was never chosen.

    Attributes:
        changed: Something else is chosen now.
    """

    def __init__(self) -> None:
        self.changed = Signal()
        self._chosen = _read()

    def method(self, model: Model) -> Method | None:
        """Return the method that was chosen; None runs the model once, as it is."""
        name = self._of(model).get(_METHOD)
        return next((method for method in model.methods if method.name == name), None)

    def value(self, model: Model, option: RunOption, method: Method | None = None) -> Any:
        """Return what is chosen for a setting, of a method or of every run."""
        kept = self._of(model).get(_RUN if method is None else _OPTIONS)
        kept = kept if isinstance(kept, dict) else {}
        kept = kept if method is None else kept.get(method.name)
        value = kept.get(option.name) if isinstance(kept, dict) else None
        value = tuple(value) if isinstance(value, list) else value
        return value if value is not None and option.takes(value) else option.default

    def values(self, model: Model) -> dict[str, Any]:
        """Return what is chosen for the settings of every run, by name."""
        return {option.name: self.value(model, option) for option in model.run_options}

    def structures(self, model: Model) -> list[str]:
        """Return the names of the structures that are wanted, all of them where nobody has chosen."""
        kept = self._of(model).get(_STRUCTURES)
        names = [label.name for label in model.labels]
        wanted = [name for name in names if name in kept] if isinstance(kept, list) else names
        return wanted or names

    def choose_method(self, model: Model, name: str) -> None:
        """Take another method; an empty name is none."""
        self._keep(model, {**self._of(model), _METHOD: name})

    def choose_value(self, model: Model, option: RunOption, value: Any, method: Method | None = None) -> None:
        """Set a setting, of a method or of every run."""
        about = self._of(model)
        if method is None:
            new = {**about, _RUN: {**_dict(about.get(_RUN)), option.name: value}}
        else:
            known = _dict(about.get(_OPTIONS))
            new = {**about, _OPTIONS: {**known, method.name: {**_dict(known.get(method.name)), option.name: value}}}
        self._keep(model, new)

    def use_examples(self, model: Model) -> None:
        """Show the model the corrected slices of the server from now on."""
        option = next((option for option in model.run_options if option.name == EXAMPLES), None)
        if option is not None:
            self.choose_value(model, option, True)

    def choose_structures(self, model: Model, names: list[str]) -> None:
        """Say which structures are wanted."""
        everything = len(names) == len(model.labels)
        self._keep(model, {**self._of(model), _STRUCTURES: None if everything else names})

    def params(self, model: Model) -> dict[str, Any]:
        """Return what the server is told with a run: what differs from its defaults."""
        values = self.values(model)
        told = {
            option.name: values[option.name]
            for option in model.run_options
            if values[option.name] != option.default and option.counts(values)
        }
        method = self.method(model)
        if method is not None:
            values = {option.name: self.value(model, option, method) for option in method.options}
            told[_METHOD] = method.name
            told[_OPTIONS] = {
                o.name: values[o.name] for o in method.options if o.required or values[o.name] != o.default
            }
        wanted = self.structures(model)
        if model.methods and len(wanted) < len(model.labels):  # a stock server knows no such thing
            told[_STRUCTURES] = wanted
        return told

    def _of(self, model: Model) -> dict[str, Any]:
        return _dict(self._chosen.get(model.name))

    def _keep(self, model: Model, new: dict[str, Any]) -> None:
        if new == self._of(model):
            return
        others = {name: about for name, about in self._chosen.items() if name != model.name}
        self._chosen = {**dict(list(others.items())[1 - _MOST :]), model.name: new}
        settings.remember(_KEY, json.dumps(self._chosen))
        self.changed.emit()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read() -> Mapping[str, Any]:
    try:
        return _dict(json.loads(settings.value(_KEY) or "{}"))
    except ValueError:
        return {}
