"""Somebody who goes from region to region."""

from __future__ import annotations

from dataclasses import replace

import nibabel as nib
import numpy as np
import slicer

from UncertaintySegLib.server.results import Region

SPECS = (  # structure, voxel, box, expected error in mL
    ("organ", (26, 8, 11), ((18, 6, 8), (34, 12, 14)), 0.6),
    ("lesion", (33, 20, 11), ((29, 16, 9), (37, 24, 13)), 0.4),
    ("organ", (10, 20, 11), ((9, 14, 8), (12, 26, 14)), 0.2),
)


def regions_of(files, specs=SPECS) -> tuple[Region, ...]:
    affine = nib.load(files.scan).affine
    return tuple(
        Region(rank, name, tuple(nib.affines.apply_affine(affine, ijk).tolist()), ijk, box, 1.5, error)
        for rank, (name, ijk, box, error) in enumerate(specs, start=1)
    )


class Reviewer:
    """Goes through regions."""

    def __init__(self, panel, files, host) -> None:
        from slicer_host import desktop

        self.desktop, self.panel, self.files, self.host = desktop, panel, files, host
        self.session = panel.session
        self.section = panel.sections["Regions"]
        self.ui, self.regions, self.clicks = self.section.ui, self.section.regions, self.section.clicks

    def click(self, button) -> None:
        from PySide6 import QtCore, QtTest

        assert button.isEnabled(), button.objectName
        QtTest.QTest.mouseClick(button, QtCore.Qt.LeftButton)

    def press(self, key: str) -> None:
        """Press a key in the main window; the panel, which is a window of its own here, is not in it."""
        self.desktop.press_key(key)

    def answered(self, seconds: float = 180.0) -> None:
        self.desktop.wait_until(lambda: not (self.clicks.waiting or self.session.worker.pending), seconds)

    def states(self) -> list[str]:
        return [item.state for item in self.regions.items]

    def selected(self) -> int | None:
        rows = {index.row() for index in self.ui.regionsTable.selectedIndexes()}
        return rows.pop() if rows else None

    def row(self, row: int) -> list[str]:
        return [self.ui.regionsTable.item(row, column).text() for column in range(6)]

    def ras(self, ijk) -> tuple[float, ...]:
        return tuple(nib.affines.apply_affine(nib.load(self.files.scan).affine, ijk).tolist())

    def place(self, ijk) -> None:
        """Click on a voxel."""
        view = self.host.slice_view("Red")
        view.jump_to(self.ras(ijk))
        view.pointer.click(view.pixel_of(self.ras(ijk)))
        self.desktop.process_events()

    def is_shown(self, ijk) -> bool:
        """Whether a voxel is in the slice and near the middle of every view."""
        shown = []
        for name in ("Red", "Yellow", "Green"):
            node = self.host.slice_view(name).node
            matrix = slicer.util.arrayFromVTKMatrix(node.GetSliceToRAS())
            place = np.linalg.inv(matrix) @ [*self.ras(ijk), 1.0]
            shown.append(abs(place[2]) < 0.01 and np.abs(place[:2]).max() < 15)
        return all(shown)

    def review(self, regions, left: float) -> None:
        """Show what a server would say of the label as it is."""
        state = self.session.state
        self.session.show_result(
            replace(state.result, key="r3v", regions=regions, remaining_error_ml=left), None, {}, base=state.base
        )
