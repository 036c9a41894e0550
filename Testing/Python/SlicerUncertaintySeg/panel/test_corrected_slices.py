"""From an empty label to the whole scan: a few slices are drawn, and a model that learnt nothing is shown them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.servers import SERVE
from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.uncertaintyseg import tiny
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.edit_section import EditSection
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.scene.navigation import file_to_ras

COLD, CASE = "cold_slices", "case_0"
PLACES = {"organ": (4, 4), "lesion": (9, 9)}


@pytest.fixture(scope="module")
def cold_server(launch, tmp_path_factory):
    from uncertaintyseg.backbones import UniverSeg
    from uncertaintyseg.imports import import_model

    folder = tmp_path_factory.mktemp("cold")
    torch.manual_seed(0)
    torch.save(UniverSeg((4, 5)).state_dict(), folder / "us.pt")
    tiny.write_phantoms(folder, 2, **tiny.COARSE)
    import_model(folder / "us.pt", output=folder / "models", name=COLD, patch="16", labels=",".join(PLACES))
    tiny.give_random_weights(tiny.write_bundle(folder / "models"))
    places = ["--models", str(folder / "models"), "--cache", str(folder / "cache")]
    return launch([*SERVE, *places], sorted((folder / "images").glob("*.nii.gz")))


@pytest.fixture
def annotator(host, cold_server, tmp_path, monkeypatch):
    from UncertaintySegLib.panel import edit_section

    monkeypatch.setattr(edit_section, "default_folder", lambda: tmp_path / "drafts")
    host.slice_view("Red")
    with sitting_at([CasesSection, SegmentSection, EditSection], tmp_path / "downloads") as annotator:
        annotator.connect(cold_server.url)
        annotator.choose(annotator.segment.ui.taskComboBox, COLD)
        annotator.wait()
        annotator.cases.cases.open(CASE)
        annotator.wait()
        annotator.panel.sections["Edit"].ui.insideRiskCheckBox.setChecked(False)
        yield annotator
    cold_server.http.delete(f"/datastore/label?id={CASE}&tag=final")


def draw(annotator, k: int, names=tuple(PLACES)) -> np.ndarray:
    """Paint structures into an axial slice; returns the slice as it is then, `[J, I]`."""
    section, scene = annotator.panel.sections["Edit"], annotator.scene
    contents = scene.segmentation.GetSegmentation()
    for name in names:
        ras = file_to_ras(scene.scan) @ [*PLACES[name], k, 1]
        before = len(annotator.session.history.done)
        section.editor.setCurrentSegmentID(contents.GetSegmentIdBySegmentName(name))
        annotator.desktop.paint(section.editor, tuple(ras[:3]), 8.0)
        annotator.desktop.wait_until(lambda before=before: len(annotator.session.history.done) > before)
    annotator.wait()
    return scene.label_ids()[k]


def shown(annotator) -> list[tuple]:
    found = annotator.session.state.base.provenance["examples"]
    return [(one["case"], one["axis"], one["index"], one["same_patient"]) for one in found]


def buttons(annotator) -> list:
    layout = annotator.segment.ui.examplesWidget.layout()
    return [layout.itemAt(number).widget() for number in range(layout.count())]


def test_slices_that_are_drawn_segment_the_rest_and_stay_as_they_are(annotator, cold_server, host):
    ui, scene = annotator.segment.ui, annotator.scene
    annotator.click(ui.runButton)
    annotator.wait()
    assert "nothing is corrected yet: draw organ, lesion in some slices" in annotator.status
    assert not ui.examplesButton.isEnabled()

    annotator.choose(ui.startComboBox, "an empty label, to draw the first examples")
    annotator.click(ui.runButton)
    annotator.desktop.wait_until(lambda: scene.is_segmented)
    assert not scene.label_ids().any()
    third = draw(annotator, 3)
    assert set(np.unique(third)) == {0, 1, 2}
    annotator.click(ui.examplesButton)
    annotator.desktop.wait_until(lambda: annotator.session.state.base is not None)
    annotator.wait()
    assert shown(annotator) == [(CASE, 2, 3, True)]
    assert ui.examplesLabel.text == "It was shown 1 slice: this scan axial 3."
    np.testing.assert_array_equal(scene.label_ids()[3], third)

    first = annotator.session.state.base.key
    fifth = draw(annotator, 5, ["organ"])
    annotator.click(ui.examplesButton)
    annotator.desktop.wait_until(lambda: annotator.session.state.base.key != first)
    annotator.wait()
    assert shown(annotator) == [(CASE, 2, 3, True), (CASE, 2, 5, True)]
    assert ui.examplesLabel.text == "It was shown 2 slices: this scan axial 3, 5."
    np.testing.assert_array_equal(scene.label_ids()[3], third)
    np.testing.assert_array_equal(scene.label_ids()[5], fifth)
    pictures = buttons(annotator)
    assert [button.text for button in pictures] == ["axial 3", "axial 5"]
    assert pictures[1].accessibleName == "Example of this scan, axial 5: go to it."
    annotator.click(pictures[1])
    fifth_mm = (file_to_ras(scene.scan) @ [0, 0, 5, 1])[2]
    assert host.slice_view("Red").node.GetSliceOffset() == pytest.approx(fifth_mm)
    newest = cold_server.http.get(f"/uncertainty/v1/cases/{CASE}/versions").json()["versions"][-1]
    last = [size - 1 for size in scene.scan.GetImageData().GetDimensions()]
    assert newest["verified"] == [[[0, 0, k], [last[0], last[1], k]] for k in (3, 5)]


def test_models_that_have_learnt_offer_nothing_of_it(annotator):
    ui = annotator.segment.ui
    assert ui.examplesButton.isVisible()
    texts = [ui.taskComboBox.itemText(index) for index in range(ui.taskComboBox.count)]
    annotator.choose(ui.taskComboBox, next(text for text in texts if text != COLD))
    annotator.wait()
    assert not ui.examplesButton.isVisible()
    starts = [ui.startComboBox.itemText(index) for index in range(ui.startComboBox.count)]
    assert "an empty label, to draw the first examples" not in starts
