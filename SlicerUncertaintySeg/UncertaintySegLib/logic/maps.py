"""The maps of the result: in the scene as soon as somebody wants one, from the downloads or from the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.state import State
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.server.replies import InferResult

Then = Callable[[], None]


def _nothing() -> None:
    pass


class Maps:
    """Brings maps of the session's result into the scene.

    Args:
        state: Whose result has the maps.
        scene: Where they go.
        ask, fail: Ask the server, and say what went wrong; see `Session`.

    Attributes:
        changed: Another map is on its way, or has come.
    """

    def __init__(
        self, state: State, scene: CaseScene, ask: Callable[..., int], fail: Callable[[Exception], None]
    ) -> None:
        self._state, self._scene = state, scene
        self._ask_server, self._fail = ask, fail
        self._waiting: dict[str, list[tuple[Then, Then]]] = {}
        self.changed = Signal()

    @property
    def fetching(self) -> set[str]:
        """Names of the maps that are on their way."""
        return set(self._waiting)

    def forget(self) -> None:
        """Let nobody wait any more: the maps on their way are of another result."""
        self._waiting.clear()

    def fetch(self, name: str, done: Then, failed: Then = _nothing) -> None:
        """Have a map in the scene, and then call `done`.

        Neither function is called where the result has no such map, or another result came meanwhile.

        Args:
            name: Of the map.
            done: Called when it is there: at once where it was downloaded before.
            failed: Called when it cannot be had; the status line says why.
        """
        result = self._state.result
        if name in self._scene.maps or self._read(name, result):
            done()
        elif result is not None and name in result.maps:
            waiting = self._waiting.setdefault(name, [])
            waiting.append((done, failed))
            if len(waiting) == 1:
                self._ask(name, result, waiting)

    def _read(self, name: str, result: InferResult | None) -> bool:
        """Read a map that was downloaded before; one that is gone or broken is for the server to send again."""
        info = result.maps.get(name) if result is not None else None
        file = self._scene.file_of(info) if info is not None else None
        if file is None:
            return False
        try:
            self._scene.add_map(name, file, info, result.provenance)
        except SceneError:
            return False
        return True

    def _ask(self, name: str, result: InferResult, waiting: list[tuple[Then, Then]]) -> None:
        def arrived(answer: dict[str, Any]) -> None:
            if self._waiting.get(name) is not waiting:
                return
            self._scene.add_map(name, Path(answer["maps"][name]), result.maps[name], result.provenance)
            del self._waiting[name]
            for done, _failed in waiting:
                done()
            self.changed.emit()

        def refused(error: Exception) -> None:
            if self._waiting.get(name) is waiting:
                del self._waiting[name]
                for _done, failed in waiting:
                    failed()
            self._fail(error)

        arguments = {"result": result.key, "maps": {name: result.maps[name].url}}
        self._ask_server("fetch_maps", arguments, arrived, quiet=True, failed=refused)
        self.changed.emit()
