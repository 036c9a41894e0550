"""Images and clips in the panel with a real server and a model of two dimensions: opened, segmented, sent."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from Testing.Python.SlicerUncertaintySeg.scene.test_intake import film
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.regions_section import RegionsSection
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.scene import layouts

MODEL, SOLID = "flat_low_rank", "tiny_low_rank"


@pytest.fixture(scope="module")
def flat_server(launch, tmp_path_factory):
    """A 2D model and a 3D one, over a picture and a folder of frames."""
    from Testing.Python.uncertaintyseg import flat

    server = flat.serve(launch, tmp_path_factory.mktemp("flat"))
    server.wait_until(lambda: server.images() == ["picture", "sweep"])
    return server


@pytest.fixture
def annotator(host, flat_server, tmp_path):
    host.slice_view("Red")
    with sitting_at([CasesSection, SegmentSection, RiskSection, RegionsSection], tmp_path / "downloads") as annotator:
        annotator.connect(flat_server.url)
        annotator.wait()
        yield annotator
        annotator.session.close_case()


def tasks(annotator) -> set[str]:
    box = annotator.segment.ui.taskComboBox
    return {box.itemText(place) for place in range(box.count)}


def choose(annotator) -> None:
    for box, text in zip(("taskComboBox", "modelComboBox"), MODEL.split("_", 1), strict=True):
        annotator.choose(getattr(annotator.segment.ui, box), text)
    annotator.wait()


def open_case(annotator, image: str) -> None:
    annotator.cases.cases.open(image)
    annotator.wait()
    assert not annotator.session.state.is_error, annotator.status


def test_a_picture_and_a_folder_of_frames_of_the_studies_are_segmented_frame_by_frame(annotator):
    ui, state = annotator.segment.ui, annotator.session.state
    assert {"flat", "tiny"} <= tasks(annotator)
    areas = {}
    for image, layout in (("picture", layouts.IMAGE), ("sweep", layouts.CLIP)):
        open_case(annotator, image)
        assert slicer.app.layoutManager().layout == layout
        assert "tiny" not in tasks(annotator)
        assert SOLID in ui.modelComboBox.toolTip
        choose(annotator)
        annotator.run()
        assert not state.is_error, annotator.status
        assert (state.size_unit, state.result.axis) == ("px", "time" if image == "sweep" else "")
        ids = annotator.scene.label_ids()
        areas[image] = [int((frame == 1).sum()) for frame in ids]
    assert areas["picture"][0] == areas["sweep"][0]
    clips = annotator.panel.sections["Risk"].clips
    assert state.result.frames.area["organ"] == tuple(areas["sweep"])
    assert sorted(clips.plot.charts) == ["PlotView1", "PlotView2"]
    regions = annotator.panel.sections["Regions"].regions
    for number, item in enumerate(regions.items):
        regions.select(number)
        assert clips.clip.frame == item.region.frame


def test_a_film_of_the_scene_is_a_clip_of_the_server_too(annotator, flat_server):
    from Testing.Python.uncertaintyseg import flat

    ui, frames = annotator.cases.ui, [flat.frame(seed)[0] for seed in (3, 4)]
    ui.sceneGroupBox.collapsed = False
    ui.volumeComboBox.setCurrentNode(film(*frames))
    annotator.click(ui.copyButton)
    annotator.tick(ui.consentCheckBox)
    image = ui.uploadNameLineEdit.text
    annotator.click(ui.uploadButton)
    annotator.wait()
    try:
        assert not annotator.session.state.is_error, annotator.status
        assert next(row for row in annotator.cases.cases.rows if row.id == image).axis == "time"
        choose(annotator)
        annotator.run()
        result = annotator.session.state.result
        assert (result.axis, result.size_unit, len(result.frames.expected_error)) == ("time", "mm2", 2)
        counted = [(frame == 1).sum() * 0.25 for frame in annotator.scene.label_ids()]
        np.testing.assert_allclose(result.frames.area["organ"], counted, atol=1e-3)
    finally:
        flat_server.http.delete("/datastore/image", params={"id": image})
