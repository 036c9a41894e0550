"""What can be said about the Slicer extension without building Slicer."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).resolve().parents[3]
MODULE = ROOT / "SlicerUncertaintySeg"
SOURCES = sorted(MODULE.rglob("*.py"))
SHIPPED_BY_SLICER = {"numpy", "vtk", "slicer", "UncertaintySegLib"}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_the_module_imports_only_what_slicer_ships(path):
    allowed = SHIPPED_BY_SLICER | set(sys.stdlib_module_names) | ({"qt"} if path.name == "panel.py" else set())
    assert imports(path) <= allowed


@pytest.mark.parametrize("name", ["client", "transport", "replies", "errors", "background"])
def test_what_talks_to_the_server_needs_no_slicer(name):
    assert not imports(MODULE / "UncertaintySegLib" / f"{name}.py") & {"slicer", "vtk", "qt", "numpy"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_sources_parse_on_python_3_9(path):
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_the_project_is_named_as_the_extensions_index_wants():
    text = (ROOT / "CMakeLists.txt").read_text()
    name = re.search(r"project\((\w+)\)", text)[1]
    assert name == "UncertaintySeg"
    wanted = ("HOMEPAGE", "CATEGORY", "CONTRIBUTORS", "DESCRIPTION", "ICONURL", "SCREENSHOTURLS", "DEPENDS")
    assert all(f"set(EXTENSION_{key} " in text for key in wanted)


def test_every_resource_that_cmake_installs_is_there():
    text = (MODULE / "CMakeLists.txt").read_text().replace("${MODULE_NAME}", "UncertaintySeg")
    files = re.findall(r"^\s+((?:Resources/)?[\w/]+\.(?:py|png|ui))$", text, re.MULTILINE)
    assert len(files) == 3
    assert all((MODULE / file).is_file() for file in files)


def test_every_widget_that_the_panel_names_is_in_the_ui():
    widgets = ET.parse(MODULE / "Resources/UI/UncertaintySeg.ui").getroot().iter("widget")
    source = (MODULE / "UncertaintySegLib/panel.py").read_text(encoding="utf-8")
    used = set(re.findall(r"\bui\.(\w+)", source))
    assert used <= {widget.get("name") for widget in widgets}
