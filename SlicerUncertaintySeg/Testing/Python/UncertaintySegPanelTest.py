"""The panel in a real Slicer: it opens, says what to do, and closes without a trace. Needs a window, but no server."""

from __future__ import annotations

import time
import unittest

import slicer


class UncertaintySegPanelTest(unittest.TestCase):
    """Opens the module as a user does."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("UncertaintySeg")
        self.panel = slicer.modules.uncertaintyseg.widgetRepresentation().self().panel

    def test_every_section_is_there(self):
        for name in ("Server", "Cases", "Segment", "Risk", "Selection", "Regions", "Edit", "Report", "Preferences"):
            self.assertIn(name, self.panel.sections)

    def test_every_widget_explains_itself(self):
        silent = [
            f"{section.name}.{name}"
            for section in self.panel.sections.values()
            for name, widget in vars(section.ui).items()
            if name[0].islower()  # those in capitals are parts of ctk's and Slicer's own widgets
            and name.endswith(("Button", "ComboBox", "LineEdit", "Slider", "CheckBox"))
            and not widget.toolTip
        ]
        self.assertEqual(silent, [])

    def test_an_absent_server_is_said_in_the_status_line(self):
        server = self.panel.sections["Server"]
        server.ui.serverLineEdit.text = "http://127.0.0.1:9"
        server.ui.connectButton.click()
        _wait(lambda: not self.panel.session.busy)
        self.assertIn("http://127.0.0.1:9", self.panel.ui.statusLabel.text)

    def test_closing_the_scene_forgets_the_case(self):
        slicer.mrmlScene.Clear(0)
        self.assertIsNone(self.panel.session.state.sample)


def _wait(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError("Nothing happened.")
        slicer.app.processEvents()


if __name__ == "__main__":
    unittest.main()
