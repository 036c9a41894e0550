"""The maps of the result: in the scene as soon as somebody wants one, from the downloads or from the server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from UncertaintySegLib.errors import SceneError
from UncertaintySegLib.logic.signals import Signal
from UncertaintySegLib.logic.state import State
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.scene.map_nodes import URL
from UncertaintySegLib.server.results import MapInfo

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

        Neither function is called where there is no such map, or another result came meanwhile.

        Args:
            name: Of the map.
            done: Called when it is there: at once where it was downloaded before.
            failed: Called when it cannot be had; the status line says why.
        """
        info = self._state.maps.get(name)
        if self._is_there(name, info) or (info is not None and self._read(name, info)):
            done()
        elif info is not None:
            waiting = self._waiting.setdefault(name, [])
            waiting.append((done, failed))
            if len(waiting) == 1:
                self._ask(name, info, waiting)

    def _is_there(self, name: str, info: MapInfo | None) -> bool:
        """Whether the scene has the map, and not one of that name that is out of date."""
        volume = self._scene.maps.get(name)
        return volume is not None and (info is None or volume.GetAttribute(URL) == (info.url or ""))

    def _read(self, name: str, info: MapInfo) -> bool:
        """Read a map that was downloaded before; one that is gone or broken is for the server to send again."""
        file = self._scene.file_of(info)
        if file is None:
            return False
        try:
            self._scene.add_map(name, file, info, self._provenance(name))
        except SceneError:
            return False
        return True

    def _ask(self, name: str, info: MapInfo, waiting: list[tuple[Then, Then]]) -> None:
        def arrived(answer: dict[str, Any]) -> None:
            if self._waiting.get(name) is not waiting:
                return
            self._scene.add_map(name, Path(answer["maps"][name]), info, self._provenance(name))
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

        result = self._state.result
        arguments = {"result": result.key if result is not None else "", "maps": {name: info.url}}
        self._ask_server("fetch_maps", arguments, arrived, quiet=True, failed=refused)
        self.changed.emit()

    def _provenance(self, name: str) -> dict[str, Any]:
        """Where a map comes from; what readers drew comes from no model."""
        state = self._state
        return state.result.provenance if state.result is not None and name not in state.reader_maps else {}
