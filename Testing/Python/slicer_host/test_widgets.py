from __future__ import annotations

import pytest
import slicer

pytest.importorskip("PySide6")

from PySide6 import QtWidgets

UI = """<?xml version="1.0" encoding="UTF-8"?>
<ui version="4.0"><class>Form</class><widget class="QWidget" name="Form"><layout class="QVBoxLayout">
<item><widget class="qMRMLNodeComboBox" name="nodes">
  <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
  <property name="noneEnabled"><bool>true</bool></property></widget></item>
<item><widget class="ctkSliderWidget" name="slider"><property name="decimals"><number>1</number></property>
  <property name="maximum"><double>5.0</double></property>
  <property name="singleStep"><double>0.5</double></property></widget></item>
<item><widget class="ctkPathLineEdit" name="path"/></item>
<item><widget class="ctkCollapsibleGroupBox" name="group"><property name="title"><string>More</string></property>
  <layout class="QVBoxLayout"><item><widget class="QLabel" name="inside"/></item></layout></widget></item>
</layout></widget></ui>"""


@pytest.fixture
def ui(desktop, tmp_path):
    (tmp_path / "form.ui").write_text(UI)
    form = slicer.util.loadUI(str(tmp_path / "form.ui"))
    form.show()
    ui = slicer.util.childWidgetVariables(form)
    ui.form = form
    yield ui
    ui.nodes.setMRMLScene(None)
    form.close()


def test_properties_read_as_in_pythonqt(ui):
    assert ui.nodes.nodeTypes == ["vtkMRMLScalarVolumeNode"]
    assert (ui.slider.maximum, ui.slider.decimals) == (5.0, 1)
    ui.slider.enabled = False
    assert not ui.slider.enabled
    assert ui.inside.visible


def test_the_node_combo_box_follows_the_scene(ui, host, ramp):
    chosen = []
    ui.nodes.setMRMLScene(host.scene)
    ui.nodes.connect("currentNodeChanged(vtkMRMLNode*)", chosen.append)
    assert ui.nodes.currentNode() is None
    ui.nodes.findChild(QtWidgets.QComboBox).setCurrentIndex(1)
    assert ui.nodes.currentNode() is ramp
    host.scene.RemoveNode(ramp)
    assert ui.nodes.currentNode() is None
    assert chosen == [ramp, None]


def test_the_slider_steps_and_stays_in_range(ui):
    ui.slider.findChild(QtWidgets.QSlider).setValue(3)
    assert ui.slider.value == pytest.approx(1.5)
    ui.slider.setValue(99)
    assert ui.slider.value == 5.0


def test_the_ends_of_a_slider_are_properties(ui):
    assert not any(hasattr(ui.slider, name) for name in ("setRange", "setMinimum", "setMaximum"))
    ui.slider.minimum, ui.slider.maximum, ui.slider.decimals = 2.0, 7.5, 2
    assert (ui.slider.minimum, ui.slider.maximum, ui.slider.decimals) == (2.0, 7.5, 2)
    assert ui.slider.value == 2.0


def test_a_path_is_picked(ui, desktop):
    desktop.answers.files.append("/data/studies")
    ui.path.findChild(QtWidgets.QToolButton).click()
    assert ui.path.currentPath == "/data/studies"


def test_a_group_folds_away_and_remembers_what_was_hidden_and_shown_meanwhile(ui):
    other = QtWidgets.QLabel()
    ui.group.layout().addWidget(other)
    other.setVisible(False)
    ui.group.collapsed = True
    assert not ui.inside.visible
    other.setVisible(True)
    assert other.isHidden()
    ui.group.collapsed = False
    assert (ui.inside.visible, other.visible) == (True, True)
    other.setVisible(False)
    ui.group.collapsed = True
    ui.group.collapsed = False
    assert (ui.inside.visible, other.visible) == (True, False)
