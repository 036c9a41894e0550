"""What every section of the panel is: the widgets of one .ui file, and what they are connected to."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import ctk
import qt
import slicer

from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.panel.widgets import rename_keys


class Section:
    """A collapsible part of the panel.

    Subclasses say in `name` which Resources/UI/<name>.ui they show and in `title` what stands on the button; they
    connect their widgets in `setup`.

    Args:
        session: What all sections share.
        ui_folder: Where the .ui files are.

    Attributes:
        button: The `ctkCollapsibleButton` around the widgets.
        ui: The widgets of the .ui file by name.
    """

    name = ""
    title = ""
    collapsed = False

    def __init__(self, session: Session, ui_folder: str) -> None:
        self.session = session
        self.button = ctk.ctkCollapsibleButton()
        self.button.objectName = f"{self.name}CollapsibleButton"
        self.button.text = self.title
        contents = slicer.util.loadUI(f"{ui_folder}/{self.name}.ui")
        self.ui: SimpleNamespace = slicer.util.childWidgetVariables(contents)
        layout = qt.QVBoxLayout(self.button)
        layout.addWidget(contents)
        self.setup()
        for widget in slicer.util.findChildren(self.button):
            if widget.inherits("QTableView"):
                widget.setTabKeyNavigation(False)  # Tab leaves a table, for those without a mouse
        self.button.collapsed = self.collapsed

    def setup(self) -> None:
        """Connect the widgets; called once."""

    def refresh(self) -> None:
        """Make the widgets show the state of the session; called after every change of it."""

    def enter(self) -> None:
        """Begin what is done only while the module is open."""

    def exit(self) -> None:
        """End it."""

    def show_keys(self) -> None:
        """Name the keys as they are now; called after one of them has changed."""
        rename_keys(slicer.util.findChildren(self.button))

    def actions(self) -> dict[str, Callable[[], None]]:
        """Return what keys do here, by the names in `logic.keyboard`."""
        return {}

    def close(self) -> None:
        """Let go of what outlives the widgets; called once, at the end."""
