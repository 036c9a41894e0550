"""Stand-ins have what PythonQt reaches of the classes that they stand for, and fail on anything else."""

from __future__ import annotations

import pytest

pytest.importorskip("PySide6")

from PySide6 import QtCore, QtWidgets

from headless_slicer import layout, view_widgets
from slicer_host import read_headers, scriptable

VIEWS = {
    "qSlicerLayoutManager": layout.LayoutManager,
    "qMRMLSliceWidget": view_widgets.SliceWidget,
    "qMRMLSliceView": view_widgets.SliceView,
    "qMRMLSliceControllerWidget": view_widgets.SliceControllerWidget,
    "qMRMLThreeDWidget": view_widgets.ThreeDWidget,
    "qMRMLThreeDView": view_widgets.ThreeDView,
    "qMRMLPlotWidget": view_widgets.PlotWidget,
    "qMRMLPlotView": view_widgets.PlotView,
}
EVERYWHERE = {"connect", "disconnect", "staticMetaObject"}
HEADER = """
class QMRML_WIDGETS_EXPORT qMRMLThing : public qMRMLBase
{
  Q_OBJECT
  Q_PROPERTY(bool folded READ folded WRITE setFolded NOTIFY foldedChanged)
  Q_PROPERTY(QString name READ name)
  Q_FLAGS(Kind Kinds)
public:
  enum KindFlag { None = 0, Old = 1 << 1 };
  Q_DECLARE_FLAGS(Kinds, KindFlag)
  enum Kind { Round, // "https://a"
              Flat };
  void setFolded(bool);
  bool folded() const { if (x) { return true; } return false; }
  Q_INVOKABLE virtual vtkMRMLNode* node(const QString& name = "a;b") const;
public slots:
  void setFolded2(bool);
  // void gone();
signals:
  void moved(vtkMRMLNode* node, const QString& text = QString());
  void moved(int);
protected slots:
  void onMoved();
private:
  Q_DECLARE_PRIVATE(qMRMLThing);
};
class qMRMLBase : public QWidget
{
public Q_SLOTS:
  virtual void setMRMLScene(vtkMRMLScene* scene) override;
};
"""


def stand_in(of: str) -> type:
    return VIEWS.get(of) or scriptable.STAND_INS[of]


def names(cls: type) -> dict[str, object]:
    """What a class of ours has beside Qt's, by name."""
    ours = [base for base in reversed(cls.__mro__) if base.__module__.startswith(("slicer_host", "uncertaintyseg"))]
    return {name: value for base in ours for name, value in vars(base).items() if not name.startswith("_")}


def test_every_stand_in_is_compared(desktop):
    assert {*scriptable.STAND_INS, *VIEWS} == scriptable.table().keys()


@pytest.mark.parametrize("of", sorted(scriptable.table()))
def test_a_stand_in_has_nothing_that_python_cannot_reach(desktop, of):
    row, cls = scriptable.table()[of], stand_in(of)
    base = getattr(QtWidgets, row["base"], None) or getattr(QtCore, row["base"], QtWidgets.QWidget)
    if issubclass(cls, QtCore.QObject):
        assert base is next(parent for parent in cls.__mro__ if parent.__module__.startswith("PySide6"))
    kinds = {QtCore.Signal: "signals", QtCore.Property: "properties", property: "properties", type(names): "methods"}
    for name, value in names(cls).items():
        known = row[kinds.get(type(value), "values")]
        assert name in known or name in row["properties"] or name in dir(base) or name in EVERYWHERE, name


def test_what_is_not_there_can_neither_be_called_nor_set(desktop):
    import ctk

    section = ctk.ctkCollapsibleButton()
    for name in ("setCollapsed", "collapse", "setFlat"):
        assert not hasattr(section, name)
    with pytest.raises(AttributeError, match="has no attribute 'colapsed'"):
        section.colapsed = True
    with pytest.raises(AttributeError, match=r"no signal contentsCollapsed\(int\): its types are bool"):
        section.connect("contentsCollapsed(int)", print)
    section.setText("Cases")  # QAbstractButton's
    section.collapsed = True
    assert (section.text, section.checked) == ("Cases", False)
    section.click()
    assert not section.collapsed
    section.deleteLater()


def test_headers_are_read_as_qt_reads_them():
    thing = read_headers.flat(read_headers.read(HEADER), "qMRMLThing")
    assert thing == read_headers.Scriptable(
        base="QWidget",
        properties={"folded": True, "name": False},
        methods={"node", "setFolded2", "setMRMLScene"},
        signals={"moved": ["vtkMRMLNode*,QString", "vtkMRMLNode*", "int"]},
        values={"Round", "Flat"},
    )
