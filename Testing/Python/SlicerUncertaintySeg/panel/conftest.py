"""A panel with some of its sections, over a real scene and a real child process."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import slicer

from Testing.Python.SlicerUncertaintySeg.conftest import write_scaled_map
from Testing.Python.SlicerUncertaintySeg.review_curve import a_result
from UncertaintySegLib.server.replies import Sample
from UncertaintySegLib.server.results import MapInfo

UI = Path(__file__).resolve().parents[4] / "SlicerUncertaintySeg" / "Resources" / "UI"
ERROR_PROBABILITY = MapInfo(
    url="/uncertainty/v1/results/k3y/maps/error_probability.nii.gz", unit="1", range=(0.0, 1.0), source="total"
)


@pytest.fixture
def session(host, tmp_path):
    """A session without a server."""
    from UncertaintySegLib.logic.session import Session
    from UncertaintySegLib.scene.case import CaseScene
    from UncertaintySegLib.server.worker_client import WorkerClient

    session = Session(CaseScene(host.scene), WorkerClient(), tmp_path)
    yield session
    session.close()


@pytest.fixture
def open_panel(session):
    """The function that opens a panel of 380 pixels with some sections."""
    from slicer_host import desktop
    from UncertaintySegLib.panel.panel import Panel

    opened = []

    def open_panel(*sections):
        widget = slicer.util.loadUI(str(UI / "UncertaintySeg.ui"))
        panel = Panel(slicer.util.childWidgetVariables(widget), session, list(sections), str(UI))
        panel.widget = widget
        opened.append(panel)
        widget.resize(380, 900)
        widget.show()
        desktop.process_events()
        return panel

    yield open_panel
    for panel in opened:
        panel.close()
        desktop.discard(panel.widget)


@pytest.fixture
def reporting_panel(open_panel, tmp_path):
    """A panel that shows a result and writes reports of it into a folder of the test."""
    from slicer_host import desktop
    from UncertaintySegLib.panel.regions_section import RegionsSection
    from UncertaintySegLib.panel.report_section import ReportSection
    from UncertaintySegLib.panel.risk_section import RiskSection

    panel = open_panel(RiskSection, RegionsSection, ReportSection)
    panel.sections["Report"].ui.folderPathLineEdit.currentPath = str(tmp_path / "reports")
    desktop.process_events()
    yield panel
    panel.sections["Risk"].close()


@pytest.fixture
def error_probability_file(phantom_case, tmp_path) -> Path:
    """A map of the phantom's error probability, 0 to 1."""
    image = nib.load(phantom_case.risk)
    values = np.clip(image.get_fdata() / np.log(2), 0, 1)
    write_scaled_map(tmp_path / "error_probability.nii.gz", values, image.affine, 1.0)
    return tmp_path / "error_probability.nii.gz"


@pytest.fixture
def show_result(session, phantom_case, error_probability_file):
    """The function that opens the phantom with a result; its arguments are fields of that."""

    def show_result(*, with_map=True, **fields):
        session.open_case(Sample(phantom_case.name), phantom_case.scan)
        result = a_result(labels=phantom_case.labels, maps={"error_probability": ERROR_PROBABILITY}, **fields)
        maps = {"error_probability": error_probability_file} if with_map else {}
        session.show_result(result, phantom_case.label, maps)
        return result

    return show_result


@pytest.fixture
def drafts(tmp_path, monkeypatch) -> Path:
    """The folder of the drafts, a new one."""
    from UncertaintySegLib.panel import edit_section

    monkeypatch.setattr(edit_section, "default_folder", lambda: tmp_path / "drafts")
    return tmp_path / "drafts"


@pytest.fixture
def editor(open_panel, session, show_result, phantom_case, drafts):
    """The phantom in a panel with the section alone, and no server."""
    from Testing.Python.SlicerUncertaintySeg.panel.editor_user import Editor
    from UncertaintySegLib.logic import settings
    from UncertaintySegLib.panel.edit_section import EditSection

    settings.remember("editInsideRisk", True)  # whatever somebody chose before
    panel = open_panel(EditSection)
    session.state.review_threshold = 0.5
    show_result()
    return Editor(panel, phantom_case)


@pytest.fixture
def connected(editor, wire_server):
    """The editor, with a server."""
    from UncertaintySegLib.server.replies import parse_info

    editor.session.url = wire_server.url
    editor.session.state.info = parse_info(wire_server.info)
    editor.session.changed.emit()
    return editor


@pytest.fixture
def reviewer(host, open_panel, show_result, phantom_case):
    """The phantom with three regions in a panel with the section alone, and no server."""
    from Testing.Python.SlicerUncertaintySeg.panel.reviewer import Reviewer, regions_of
    from UncertaintySegLib.panel.regions_section import RegionsSection

    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    panel = open_panel(RegionsSection)
    show_result(regions=regions_of(phantom_case), remaining_error_ml=1.5)
    panel.enter()
    yield Reviewer(panel, phantom_case, host)
    panel.exit()
