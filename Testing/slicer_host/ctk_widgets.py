"""The ctk widgets that hide what is in them: the sections of a panel and the groups in these.

As in CTK, hiding a child while it is folded away, or showing it, counts when it comes back.
"""

from __future__ import annotations

from PySide6 import QtCore, QtGui, QtWidgets
from PySide6.QtCore import Property, Signal

from slicer_host.scriptable import stand_in

_HEADER_HEIGHT = 24
_NO_LIMIT = 16777215
_VISIBLE = "visibilityToParent"


class _Folding:
    """What both have in common: children that are hidden without being marked as hidden by somebody."""

    _forcing = _was_made = False

    def childEvent(self, event: QtCore.QChildEvent) -> None:
        child = event.child()
        if event.added() and child.isWidgetType():
            if child.testAttribute(QtCore.Qt.WA_WState_ExplicitShowHide) and child.isHidden():
                child.setProperty(_VISIBLE, False)
            child.installEventFilter(self)
            self._settle(child)

    def setVisible(self, shown: bool) -> None:
        self._forcing = True
        super().setVisible(shown)
        self._forcing = False
        if not self._was_made and self.testAttribute(QtCore.Qt.WA_WState_Created):
            self._was_made = True
            self._settle_all()

    def eventFilter(self, child: QtCore.QObject, event: QtCore.QEvent) -> bool:
        if not self._forcing and event.type() == QtCore.QEvent.Type.ShowToParent:
            child.setProperty(_VISIBLE, True)
            self._settle(child)
        elif not self._forcing and event.type() == QtCore.QEvent.Type.HideToParent:
            child.setProperty(_VISIBLE, False)
        return False

    def _settle_all(self) -> None:
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            self._settle(child)

    def _settle(self, child: QtWidgets.QWidget) -> None:
        if not self.testAttribute(QtCore.Qt.WA_WState_Created):
            return
        wanted = child.property(_VISIBLE) is not False
        self._forcing = True
        child.setVisible(wanted and not self.collapsed)
        if wanted:
            child.setAttribute(QtCore.Qt.WA_WState_ExplicitShowHide, False)
        self._forcing = False


@stand_in("ctkCollapsibleButton")
class ctkCollapsibleButton(_Folding, QtWidgets.QAbstractButton):
    """A titled section that hides its contents when its title, a button that stays down, is pressed."""

    contentsCollapsed = Signal(bool)

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self._collapsed = False
        self.setCheckable(True)
        self.setChecked(True)
        self.setSizePolicy(QtWidgets.QSizePolicy.Minimum, QtWidgets.QSizePolicy.Preferred)
        self.setContentsMargins(0, _HEADER_HEIGHT, 0, 0)
        self.setBackgroundRole(QtGui.QPalette.Window)
        self.toggled.connect(lambda checked: self._collapse(not checked))

    def _collapse(self, collapsed: bool) -> None:
        if collapsed != self._collapsed:
            self._collapsed = collapsed
            self.setMaximumHeight(_HEADER_HEIGHT if collapsed else _NO_LIMIT)
            self._settle_all()
            self.contentsCollapsed.emit(collapsed)

    collapsed = Property(bool, lambda self: self._collapsed, lambda self, collapsed: self.setChecked(not collapsed))

    def hitButton(self, position: QtCore.QPoint) -> bool:
        return position.y() < _HEADER_HEIGHT

    def paintEvent(self, _event: QtGui.QPaintEvent) -> None:
        painter = QtGui.QPainter(self)
        button = QtWidgets.QStyleOptionButton()
        button.initFrom(self)
        button.rect = QtCore.QRect(0, 0, self.width, _HEADER_HEIGHT - 2)
        button.state |= QtWidgets.QStyle.State_Raised
        self.style().drawControl(QtWidgets.QStyle.CE_PushButtonBevel, button, painter, self)
        arrow = QtWidgets.QStyleOption()
        arrow.rect, arrow.state = QtCore.QRect(6, 6, 10, 10), button.state
        kinds = QtWidgets.QStyle
        kind = kinds.PE_IndicatorArrowRight if self._collapsed else kinds.PE_IndicatorArrowDown
        self.style().drawPrimitive(kind, arrow, painter, self)
        painter.drawText(button.rect.adjusted(24, 0, 0, 0), QtCore.Qt.AlignVCenter, self.text)


@stand_in("ctkCollapsibleGroupBox")
class ctkCollapsibleGroupBox(_Folding, QtWidgets.QGroupBox):
    """A group box that hides its contents when its title is unchecked."""

    def __init__(self, parent: QtWidgets.QWidget | None = None) -> None:
        super().__init__(parent)
        self.setCheckable(True)
        self.toggled.connect(lambda _checked: self._settle_all())

    collapsed = Property(bool, lambda self: not self.isChecked(), lambda self, folded: self.setChecked(not folded))
