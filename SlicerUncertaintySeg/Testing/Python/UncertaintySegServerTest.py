"""A case's whole way in a real Slicer: connect, next case, run, submit. Needs a server.

Its address is taken from the environment: UNCERTAINTYSEG_SERVER, UNCERTAINTYSEG_TOKEN where it asks for one, and
UNCERTAINTYSEG_MODEL for another model than the first. Without an address the test is skipped.
The label of one case is written, so use a server that was started for tests.
"""

from __future__ import annotations

import os
import time
import unittest

import slicer

from UncertaintySegLib.logic import settings


@unittest.skipUnless(os.environ.get("UNCERTAINTYSEG_SERVER"), "no server to test with")
class UncertaintySegServerTest(unittest.TestCase):
    """Drives the panel's own buttons."""

    def setUp(self):
        slicer.mrmlScene.Clear(0)
        if slicer.util.mainWindow() is not None:
            slicer.util.selectModule("UncertaintySeg")
        self.panel = slicer.modules.uncertaintyseg.widgetRepresentation().self().panel
        self.session = self.panel.session

    def test_from_connect_to_submit(self):
        settings.remember("model", os.environ.get("UNCERTAINTYSEG_MODEL", ""))  # what the section Segment begins with
        server = self.panel.sections["Server"].ui
        server.serverLineEdit.text = os.environ["UNCERTAINTYSEG_SERVER"]
        server.tokenLineEdit.text = os.environ.get("UNCERTAINTYSEG_TOKEN", "")
        self._press(server.connectButton)
        self.assertIsNotNone(self.session.state.info)

        self._press(self.panel.sections["Cases"].ui.nextButton)
        case = self.session.state.sample.id
        self.assertIsNotNone(self.session.scene.scan)

        self._press(self.panel.sections["Segment"].ui.runButton)
        self.assertTrue(self.session.state.result.structures)
        self.assertIsNotNone(self.session.scene.shown)

        self._press(self.panel.sections["Edit"].ui.submitButton)
        self.assertIn(case, self.panel.ui.statusLabel.text)

    def _press(self, button, seconds: float = 300.0) -> None:
        self.assertTrue(button.enabled, button.objectName)
        button.click()
        end = time.monotonic() + seconds
        while self.session.busy:
            self.assertLess(time.monotonic(), end, "The server did not answer.")
            slicer.app.processEvents()
        self.assertFalse(self.session.state.is_error, self.session.state.message)


if __name__ == "__main__":
    unittest.main()
