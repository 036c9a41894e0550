"""Texts in a colour of ours are legible on both themes, and there are no others."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.panel.conftest import UI

PANEL = UI.parents[1] / "UncertaintySegLib" / "panel"
# Window and base of Qt's style Fusion, which Slicer's are made from, and what is a little darker or lighter.
THEMES = {"light": ("#efefef", "#ffffff", "#e0e0e0"), "dark": ("#353535", "#191919", "#2a2a2a", "#424242")}
LEGIBLE = 4.5


def luminance(color: str) -> float:
    parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return float(np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4) @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    """WCAG 2.1."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.fixture(params=THEMES)
def theme(host, request):
    """Slicer in a theme; returns the colours that may be behind a text."""
    from PySide6 import QtGui, QtWidgets

    before, (window, base, *_rest) = QtWidgets.QApplication.palette(), THEMES[request.param]
    palette = QtGui.QPalette(before)
    palette.setColor(QtGui.QPalette.Window, QtGui.QColor(window))
    palette.setColor(QtGui.QPalette.Base, QtGui.QColor(base))
    QtWidgets.QApplication.setPalette(palette)
    yield THEMES[request.param]
    QtWidgets.QApplication.setPalette(before)


@pytest.mark.parametrize("role", ["ERROR", "WARNING", "GOOD", "QUIET"])
def test_every_role_stands_out_from_what_is_behind_it(theme, role):
    from UncertaintySegLib.panel import text_colors

    color = text_colors.color(getattr(text_colors, role))
    assert min(contrast(color, behind) for behind in theme) >= LEGIBLE


def test_the_status_line_has_the_colour_of_the_theme_for_an_error_and_none_else(theme, open_panel, session):
    panel = open_panel()
    session.fail("broken")
    color = re.search(r"#\w+", panel.ui.statusLabel.styleSheet).group()
    assert min(contrast(color, behind) for behind in theme) >= LEGIBLE
    session.say("well")
    assert "color" not in panel.ui.statusLabel.styleSheet


def test_no_other_file_gives_a_text_a_colour():
    files = [*UI.glob("*.ui"), *(path for path in PANEL.glob("*.py") if path.name != "text_colors.py")]
    assert len(files) > 20
    found = {
        path.name: re.findall(r"color:\s*#|#[0-9a-fA-F]{6}\b", Path(path).read_text(encoding="utf-8")) for path in files
    }
    assert {name: colors for name, colors in found.items() if colors} == {}


def test_the_texts_of_the_report_are_legible_on_its_paper():
    from UncertaintySegLib.logic import report_page

    page = Path(report_page.__file__).read_text(encoding="utf-8")
    texts = re.findall(r"[; {]color: (#[0-9a-f]{6})", page)
    assert len(texts) >= 3
    assert min(contrast(color, "#ffffff") for color in texts) >= LEGIBLE
