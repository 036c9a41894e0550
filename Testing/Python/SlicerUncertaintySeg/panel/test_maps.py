"""Maps that several sections want: fetched once, few of them in the scene at a time."""

from __future__ import annotations

import dataclasses

import pytest
import slicer

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg import wire_answers as wire
from Testing.Python.SlicerUncertaintySeg.panel.risk_user import User
from UncertaintySegLib.logic import readers
from UncertaintySegLib.logic.readers import Readers
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.panel.selection_section import SelectionSection
from UncertaintySegLib.scene import overlay
from UncertaintySegLib.server.replies import Sample
from UncertaintySegLib.server.results import MapInfo, parse_result

NAMES = ("error_probability", "margin_risk", "ranking", "calibration", "anomaly")
URL = "/uncertainty/v1/results/k3y/maps/{}.nii.gz"


@pytest.fixture
def user(open_panel, host, wire_server, session, phantom_case):
    """With the phantom segmented, and no map here yet but the first."""
    from slicer_host import desktop

    host.slice_view("Red")
    session.url = wire_server.url
    user = User(desktop, open_panel(RiskSection, SelectionSection))
    user.selection = user.panel.sections["Selection"]
    parsed = parse_result(wire.result("k3y", [vars(label) for label in phantom_case.labels], []))
    maps = {name: MapInfo(URL.format(name), "1", (0.0, 1.0), "total") for name in NAMES}
    session.open_case(Sample(phantom_case.name), phantom_case.scan)
    session.show_result(dataclasses.replace(parsed, maps=maps), phantom_case.label, {})
    return user


def show(user, *names: str) -> None:
    for name in names:
        user.choose(user.ui.mapComboBox, overlay.title(name))
        user.wait()
        assert user.scene.shown == name


def volumes() -> set[str]:
    return {node.GetAttribute("UncertaintySeg.Map") for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")}


def test_two_sections_that_want_one_map_fetch_it_once(user, wire_server):
    assert user.session.maps.fetching == {"error_probability"}  # the one over the scan
    user.selection.ui.fillCheckBox.setChecked(True)
    assert user.selection.ui.overlayHintLabel.text.startswith("Fetching")
    user.wait()
    assert wire_server.count("GET", URL.format("error_probability")) == 1
    assert user.scene.shown == "error_probability"
    assert user.selection.logic.overlay.is_shown
    assert user.selection.ui.overlayHintLabel.isHidden()


def test_only_the_three_maps_used_last_stay_and_an_older_one_comes_back_without_the_server(user, wire_server):
    show(user, "margin_risk")
    user.ui.thresholdSlider.setValue(0.3)
    show(user, "ranking", "calibration", "anomaly")
    assert set(user.scene.maps) == {"ranking", "calibration", "anomaly"}
    assert "margin_risk" not in volumes()
    user.choose(user.ui.mapComboBox, overlay.title("margin_risk"))
    assert user.scene.shown == "margin_risk"  # at once
    assert set(user.scene.maps) == {"calibration", "anomaly", "margin_risk"}
    assert user.ui.thresholdSlider.value == pytest.approx(0.3)
    assert wire_server.count("GET", URL.format("margin_risk")) == 1


def test_where_readers_differ_is_not_wanted_of_the_next_case(user, phantom_case):
    Readers(user.session)
    user.session.state.reader_maps = {readers.MAP: MapInfo("", "1", (0.0, 0.5), "total")}
    user.scene.wanted = readers.MAP
    user.session.open_case(Sample("phantom_2"), phantom_case.scan)
    assert (user.scene.wanted, user.session.state.maps) == (overlay.FIRST_MAP, {})


def test_a_closed_case_has_no_map_to_offer(user):
    user.session.state.reader_maps = {readers.MAP: MapInfo("", "1", (0.0, 0.5), "total")}
    user.session.close_case()
    assert user.ui.mapComboBox.count == 0


def test_the_map_under_the_part_to_review_stays_while_that_is_shown(user):
    user.selection.ui.fillCheckBox.setChecked(True)
    user.wait()
    show(user, "margin_risk", "ranking", "calibration", "anomaly")
    assert set(user.scene.maps) == {"error_probability", "calibration", "anomaly"}
    user.selection.ui.fillCheckBox.setChecked(False)
    show(user, "ranking", "margin_risk")
    assert set(user.scene.maps) == {"anomaly", "ranking", "margin_risk"}


@pytest.mark.parametrize("harm", ["removed", "broken"])
def test_a_map_whose_download_is_lost_comes_from_the_server_again(user, wire_server, harm):
    show(user, "margin_risk", "ranking", "calibration", "anomaly")
    for file in user.session.folder.rglob("margin_risk*"):
        file.unlink() if harm == "removed" else file.write_bytes(b"no image")
    show(user, "margin_risk")
    assert wire_server.count("GET", URL.format("margin_risk")) == 2
    assert not user.session.state.is_error


def test_a_map_that_cannot_be_had_is_said_and_may_be_asked_for_again(user, wire_server):
    wire_server.refusals[URL.format("ranking")] = (500, b'{"detail": "no disk"}')
    user.choose(user.ui.mapComboBox, overlay.title("ranking"))
    user.wait()
    assert user.session.state.is_error
    assert not user.session.maps.fetching
    del wire_server.refusals[URL.format("ranking")]
    user.choose(user.ui.mapComboBox, "none")
    show(user, "ranking")


def test_another_result_forgets_what_was_on_its_way(user, session, phantom_case, wire_server):
    came = []
    session.maps.fetch("ranking", lambda: came.append("ranking"))
    session.open_case(Sample("other"), phantom_case.scan)
    user.wait()
    assert not came
    assert not user.scene.maps
