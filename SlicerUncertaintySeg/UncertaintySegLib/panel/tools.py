"""The keys of Slicer's Segment Editor: they choose a tool or a segment, and mean what they mean there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import slicer
import vtk

from UncertaintySegLib.logic import keyboard


class Tools:
    """Chooses tools and segments by key.

    The editor's own `installKeyboardShortcuts` is not called: its Z and Y undo past our one history.

    Args:
        editor: A `qMRMLSegmentEditorWidget`.
        is_possible: Says whether there is a label, that may be edited.
    """

    def __init__(self, editor, is_possible: Callable[[], bool]) -> None:
        self._editor, self._is_possible = editor, is_possible
        self._active = self._before = ""
        self._watched: tuple[slicer.vtkMRMLSegmentEditorNode, int] | None = None
        self.watch()

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here."""
        tools = {f"tool_{number}": partial(self._toggle, name) for number, name in enumerate(keyboard.TOOLS, start=1)}
        return {
            **tools,
            "last_tool": lambda: self._choose(self._before),
            "no_tool": lambda: self._choose(""),
            "previous_segment": self._editor.selectPreviousSegment,
            "next_segment": self._editor.selectNextSegment,
        }

    def watch(self) -> None:
        """Follow the tool that the editor's node names; the editor may have another node now."""
        node = self._editor.mrmlSegmentEditorNode()
        if self._watched is not None and self._watched[0] is node:
            return
        self.close()
        if node is not None:
            self._watched = node, node.AddObserver(vtk.vtkCommand.ModifiedEvent, self._on_node)
            self._on_node()

    def close(self) -> None:
        """Let go of the node."""
        if self._watched is not None:
            node, tag = self._watched
            node.RemoveObserver(tag)
        self._watched = None

    def _on_node(self, *_event: object) -> None:
        active = self._watched[0].GetActiveEffectName() or ""
        if active != self._active:
            self._before, self._active = self._active, active

    def _toggle(self, name: str) -> None:
        self._choose("" if name == self._active else name)

    def _choose(self, name: str) -> None:
        if not name:
            self._editor.setActiveEffect(None)
        elif self._is_possible():
            self._editor.setActiveEffectByName(name)
