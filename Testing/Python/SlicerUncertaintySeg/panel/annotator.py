"""Somebody at a panel of a few sections, with a real server process behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import slicer

from Testing.Python.SlicerUncertaintySeg.whole_panel import only_when_asked

UI = Path(__file__).resolve().parents[4] / "SlicerUncertaintySeg" / "Resources" / "UI"


class Annotator:
    """Clicks and looks."""

    def __init__(self, desktop, panel, window) -> None:
        self.desktop, self.panel, self.window = desktop, panel, window
        self.session = panel.session
        self.scene = self.session.scene
        self.cases = panel.sections["Cases"]
        self.segment = panel.sections.get("Segment")

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        assert button.isEnabled(), button.objectName
        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def tick(self, check_box) -> None:
        check_box.setChecked(True)

    def wait(self) -> None:
        """Until nothing is asked any more, quiet questions included."""
        self.desktop.wait_until(lambda: not self.session.busy and not self.session.worker.pending)

    def connect(self, url: str) -> None:
        server = self.panel.sections["Server"]
        server.button.collapsed = False
        self.desktop.process_events()
        server.ui.serverLineEdit.setText(url)
        server.ui.clientIdLineEdit.setText("tester")
        self.click(server.ui.connectButton)
        self.wait()
        server.button.collapsed = True

    def begin(self, url: str, model: str, image: str) -> None:
        """Connect, choose a model and open a case."""
        self.connect(url)
        task, name = model.split("_", 1)
        self.choose(self.segment.ui.taskComboBox, task)
        self.choose(self.segment.ui.modelComboBox, name)
        self.wait()
        self.cases.cases.open(image)
        self.wait()

    def next_case(self) -> None:
        self.click(self.cases.ui.nextButton)
        self.wait()

    def choose(self, combo_box, text: str) -> None:
        texts = [combo_box.itemText(index) for index in range(combo_box.count)]
        assert text in texts, texts
        combo_box.setCurrentIndex(texts.index(text))

    def run(self) -> None:
        self.wait()  # segments that are there already are matched by the server first
        self.click(self.segment.ui.runButton)
        self.wait()

    @property
    def status(self) -> str:
        return self.panel.ui.statusLabel.text

    def picture(self, path: Path) -> None:
        self.desktop.process_events()
        assert self.window.grab().save(str(path))


@contextmanager
def sitting_at(sections: Sequence[type], folder: Path) -> Iterator[Annotator]:
    """Open a panel of the server section and others, in a scene that is running already."""
    from slicer_host import desktop

    host = desktop.start()
    only_when_asked()
    from UncertaintySegLib.logic.session import Session
    from UncertaintySegLib.panel.panel import Panel
    from UncertaintySegLib.panel.server_section import ServerSection
    from UncertaintySegLib.scene.case import CaseScene
    from UncertaintySegLib.server.worker_client import WorkerClient

    session = Session(CaseScene(host.scene), WorkerClient(), folder)
    window = slicer.util.loadUI(str(UI / "UncertaintySeg.ui"))
    panel = Panel(slicer.util.childWidgetVariables(window), session, [ServerSection, *sections], str(UI))
    panel.sections["Server"].button.collapsed = True
    window.resize(400, 1100)
    window.show()
    desktop.process_events()
    yield Annotator(desktop, panel, window)
    panel.close()
    desktop.discard(window)
