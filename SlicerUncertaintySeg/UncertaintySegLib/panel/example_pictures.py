"""The slices of the open scan that a model was shown, as small pictures that lead to them."""

from __future__ import annotations

from functools import partial

import numpy as np
import qt
from slicer.i18n import tr as _

from UncertaintySegLib.logic import shown_slices
from UncertaintySegLib.logic.session import Session
from UncertaintySegLib.panel.widgets import painted
from UncertaintySegLib.server.examples import Example

SIDE = 80
"""Pixels of a picture's longer side."""
_IN_A_ROW = 4


class ExamplePictures:
    """A button with a picture for each slice of the open scan that the model of its result was shown.

    They stay as the slices were shown until there is another result. Slices of other scans are told in words: their
    voxels are not here.

    Args:
        widget: Has a grid layout for them.
        session: Whose case it is.
    """

    def __init__(self, widget: qt.QWidget, session: Session) -> None:
        self.widget, self.session = widget, session
        self._drawn: tuple[object, str] = (None, "")
        widget.hide()

    def show(self, *, wanted: bool) -> None:
        """Draw the slices of another result, if they are wanted; of the same one it costs nothing."""
        state, scene = self.session.state, self.session.scene
        there = wanted and state.base is not None and scene.is_segmented
        drawn = (scene.scan, state.base.key) if there else (None, "")
        if drawn == self._drawn:
            return
        self._drawn, layout = drawn, self.widget.layout()
        while layout.count():
            old = layout.takeAt(0).widget()
            old.hide()  # it goes only when Qt has nothing else to do
            old.deleteLater()
        pictures = shown_slices.pictures(self.session, SIDE) if there else []
        for number, (example, picture) in enumerate(pictures):
            layout.addWidget(self._button(example, picture), *divmod(number, _IN_A_ROW))
        self.widget.setVisible(bool(pictures))

    def _button(self, example: Example, picture: np.ndarray) -> qt.QToolButton:
        button = qt.QToolButton()
        ratio = self.widget.devicePixelRatioF()
        pixmap = painted(SIDE, SIDE, qt.QColor(0, 0, 0), ratio, partial(_paint, picture=picture))
        button.setIcon(qt.QIcon(pixmap))
        button.setIconSize(qt.QSize(SIDE, SIDE))
        button.setToolButtonStyle(qt.Qt.ToolButtonTextUnderIcon)
        button.setText(shown_slices.named(example))
        button.setAutoRaise(True)
        said = _("Example of this scan, {slice}: go to it.").format(slice=shown_slices.named(example))
        button.setToolTip(said)
        button.setAccessibleName(said)
        button.clicked.connect(lambda *_arguments: shown_slices.look_at(self.session, example))
        return button


def _paint(painter: qt.QPainter, picture: np.ndarray) -> None:
    """Paint a picture in the middle, pixels of one colour that lie side by side at once."""
    top, left = ((SIDE - side) // 2 for side in picture.shape[:2])
    for row, pixels in enumerate(picture):
        starts = np.flatnonzero(np.r_[True, (pixels[1:] != pixels[:-1]).any(axis=1)])
        for start, end in zip(starts, [*starts[1:], len(pixels)]):
            color = qt.QColor(*(int(part) for part in pixels[start]))
            painter.fillRect(qt.QRectF(left + int(start), top + row, int(end - start), 1), qt.QBrush(color))
