"""Somebody with a brush at the section that edits."""

from __future__ import annotations

import nibabel as nib
import numpy as np


class Editor:
    """Somebody with a brush."""

    def __init__(self, panel, files) -> None:
        from slicer_host import desktop

        self.desktop = desktop
        self.panel, self.session, self.section = panel, panel.session, panel.sections["Edit"]
        self.ui, self.scene = self.section.ui, panel.session.scene
        self.affine = nib.load(files.scan).affine
        self.label = np.asarray(nib.load(files.label).dataobj)

    def ras(self, ijk) -> tuple[float, float, float]:
        return tuple((self.affine @ [*ijk, 1.0])[:3])

    def choose(self, name: str) -> None:
        segment = self.scene.segmentation.GetSegmentation().GetSegmentIdBySegmentName(name)
        self.section.editor.setCurrentSegmentID(segment)

    def erase(self, ijk, radius_mm: float) -> None:
        self.desktop.erase(self.section.editor, self.ras(ijk), radius_mm)
        self.desktop.process_events()

    def paint(self, ijk, radius_mm: float) -> None:
        self.desktop.paint(self.section.editor, self.ras(ijk), radius_mm)
        self.desktop.process_events()

    def drawn(self) -> np.ndarray:
        """The label as it would be sent, I J K."""
        file = self.session.folder / "drawn.nii"
        self.scene.write_label(file)
        return np.asarray(nib.load(file).dataobj)

    def changed(self) -> np.ndarray:
        return self.drawn() != self.label

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        assert button.isEnabled()
        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def wait(self, condition) -> None:
        self.desktop.wait_until(condition)

    def reviewed(self) -> None:
        self.wait(lambda: self.section.reviewing.text.startswith("Risk estimated"))
