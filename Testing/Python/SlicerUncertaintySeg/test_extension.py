"""What can be said about the Slicer extension without building Slicer."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "SlicerUncertaintySeg"
SOURCES = sorted(MODULE.rglob("*.py"))
SECTIONS = sorted(MODULE.glob("UncertaintySegLib/panel/*_section.py"))
WORKED = {
    "QPushButton",
    "QToolButton",
    "QComboBox",
    "QLineEdit",
    "QCheckBox",
    "QSpinBox",
    "QDoubleSpinBox",
    "ctkSliderWidget",
}


def test_the_module_is_of_the_librarys_version():
    versions = [
        re.search(
            r'^__version__ = "(.+)"$', (ROOT / package / "__init__.py").read_text(encoding="utf-8"), re.MULTILINE
        )[1]
        for package in ("SlicerUncertaintySeg/UncertaintySegLib", "uncertaintyseg")
    ]
    assert versions[0] == versions[1]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_parse_on_python_3_9(path):
    assert ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9)).body or path.name == "__init__.py"


def test_the_project_is_named_as_the_extensions_index_wants():
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    name = re.search(r"project\((\w+)\)", text)[1]
    assert name == "UncertaintySeg"
    wanted = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
    assert all(f"set(EXTENSION_{key} " in text for key in wanted)


def test_the_catalog_entry_is_that_of_this_project():
    entry = json.loads((MODULE / "Resources/ExtensionsIndex/UncertaintySeg.json").read_text(encoding="utf-8"))
    needed, known = {"$schema", "category", "scm_url"}, {"build_dependencies", "build_subdirectory", "scm_revision"}
    assert needed <= set(entry) <= needed | known | {"scm_type", "tier", "enabled"}
    assert f'set(EXTENSION_CATEGORY "{entry["category"]}")' in (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    assert entry["tier"] == 3


def test_cmake_registers_every_test_for_a_real_slicer():
    tests = MODULE / "Testing" / "Python"
    named = set(re.findall(r"\w+Test\.py", (tests / "CMakeLists.txt").read_text(encoding="utf-8")))
    assert named == {path.name for path in tests.glob("*Test.py")}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda path: path.stem)
def test_every_widget_that_a_section_names_is_in_its_ui(section):
    source = section.read_text(encoding="utf-8")
    name = re.search(r"^    name = \"(\w+)\"$", source, re.MULTILINE)[1]
    root = ET.parse(MODULE / f"Resources/UI/{name}.ui").getroot()
    there = {element.get("name") for kind in ("widget", "action", "spacer") for element in root.iter(kind)}
    assert set(re.findall(r"\bui\.(\w+)", source)) <= there


@pytest.mark.parametrize("ui_file", sorted(MODULE.glob("Resources/UI/*.ui")), ids=lambda path: path.stem)
def test_every_widget_that_a_user_can_work_explains_itself(ui_file):
    silent = [
        widget.get("name")
        for widget in ET.parse(ui_file).getroot().iter("widget")
        if widget.get("class") in WORKED and not any(p.get("name") == "toolTip" for p in widget.findall("property"))
    ]
    assert not silent


@pytest.mark.parametrize("path", [*SECTIONS, *MODULE.glob("UncertaintySegLib/logic/*.py")], ids=lambda path: path.stem)
def test_what_a_user_reads_can_be_translated(path):
    """Texts handed to widgets and to the status line go through `_`."""
    shown = ("setText", "setToolTip", "say", "fail", "addItem", "setPlaceholderText", "setHorizontalHeaderLabels")
    bare = [
        f"{path.name}:{call.lineno}: {argument.value}"
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr in shown
        for argument in call.args
        if isinstance(argument, ast.Constant)
        and isinstance(argument.value, str)
        and re.search(r"[A-Za-z]{2}", argument.value)
    ]
    assert not bare


@pytest.mark.parametrize("path", sorted(MODULE.glob("Resources/UI/*.ui")), ids=lambda path: path.name)
def test_a_form_sets_only_properties_that_its_ctk_and_mrml_widgets_have(path):
    """Qt takes any other for a dynamic property, and says nothing."""
    known = json.loads((ROOT / "Testing/slicer_host/scriptable.json").read_text(encoding="utf-8"))["classes"]
    of_qt = {"text", "title", "toolTip", "checkable", "checked", "enabled", "visible", "sizePolicy", "maximumSize"}
    for widget in ET.parse(path).iter("widget"):
        if widget.get("class") in known:
            names = {child.get("name") for child in widget.findall("property")}
            assert names <= known[widget.get("class")]["properties"].keys() | of_qt, widget.get("name")
