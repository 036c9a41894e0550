"""Clicks on a real scan: a real server moves the label, and an undo brings it back voxel for voxel."""

from __future__ import annotations

import numpy as np
import pytest
import slicer

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.regions_section import RegionsSection
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.scene import navigation


@pytest.fixture
def annotator(host, server, tmp_path):
    """At a case, after a model ran that learns from clicks."""
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    with sitting_at([CasesSection, SegmentSection, RegionsSection], tmp_path / "downloads") as annotator:
        annotator.cases.button.collapsed = True
        annotator.begin(server.url, server.model, server.images()[0])
        annotator.run()
        yield annotator


def wrong_here(annotator) -> tuple[tuple[int, int, int], int]:
    """The voxel of the worst region, and what it is not by the label."""
    region = annotator.session.state.result.regions[0]
    drawn = annotator.scene.label_ids()[navigation.node_index(annotator.scene.scan, [region.ijk])][0]
    other = next(label.id for label in annotator.session.state.base.labels if label.id != drawn)
    return region.ijk, 0 if drawn else other


def click(annotator, host, ijk, label_id: int) -> None:
    section = annotator.panel.sections["Regions"]
    section.ui.structureComboBox.setCurrentIndex(section._labels.index(label_id))
    if not section.clicks.is_on:
        annotator.click(section.ui.clickButton)
    view = host.slice_view("Red")
    view.fit()
    ras = tuple((navigation.file_to_ras(annotator.scene.scan) @ [*ijk, 1.0])[:3])
    view.jump_to(ras)
    view.pointer.click(view.pixel_of(ras))
    annotator.wait()


def test_regions_lie_where_the_server_says(annotator):
    matrix = navigation.file_to_ras(annotator.scene.scan)
    regions = annotator.session.state.result.regions
    assert regions
    for region in regions:
        assert (matrix @ [*region.ijk, 1.0])[:3] == pytest.approx(region.ras_mm, abs=0.01)


def test_a_click_in_the_worst_region_moves_the_label_around_it_and_undo_brings_it_back(annotator, host, tmp_path):
    session, section = annotator.session, annotator.panel.sections["Regions"]
    before, first = annotator.scene.label_ids(), session.state.result
    error = annotator.scene.maps[annotator.scene.shown]
    risk = slicer.util.arrayFromVolume(error).copy()
    ijk, label_id = wrong_here(annotator)
    annotator.click(section.ui.nextButton)
    annotator.picture(tmp_path / "before.png")
    click(annotator, host, ijk, label_id)
    after = annotator.scene.label_ids()
    assert after[navigation.node_index(annotator.scene.scan, [ijk])][0] == label_id
    moved = np.argwhere(after != before)
    assert len(moved) > 5
    near = np.array(navigation.node_index(annotator.scene.scan, [ijk]))[:, 0]
    assert np.linalg.norm((moved - near) * annotator.scene.scan.GetSpacing()[::-1], axis=1).min() < 3
    assert session.state.result.key != first.key
    assert annotator.scene.maps[annotator.scene.shown] is error
    assert not np.array_equal(slicer.util.arrayFromVolume(error), risk)
    assert session.state.result.structures != first.structures
    annotator.picture(tmp_path / "after.png")
    print(section.ui.clickHintLabel.text, section.ui.progressLabel.text)

    annotator.click(section.ui.undoButton)
    np.testing.assert_array_equal(annotator.scene.label_ids(), before)
    assert session.state.result is first
    np.testing.assert_array_equal(slicer.util.arrayFromVolume(annotator.scene.maps[annotator.scene.shown]), risk)
    assert not session.worker.pending
    annotator.click(section.ui.redoButton)
    np.testing.assert_array_equal(annotator.scene.label_ids(), after)
    assert not session.worker.pending


def test_what_was_drawn_by_hand_survives_a_click_and_its_undo(annotator, host):
    scene = annotator.scene
    drawn = scene.label_ids()
    drawn[:2, :4, :4] = annotator.session.state.base.labels[0].id
    drawn[-2:, -4:, -4:] = annotator.session.state.base.labels[-1].id
    scene.draw(drawn)
    wanted = []
    annotator.session.review_wanted.connect(lambda: wanted.append(True))
    ijk, label_id = wrong_here(annotator)
    click(annotator, host, ijk, label_id)
    after = scene.label_ids()
    assert (after != drawn).sum() > 5
    np.testing.assert_array_equal(after[:2, :4, :4], drawn[:2, :4, :4])
    np.testing.assert_array_equal(after[-2:, -4:, -4:], drawn[-2:, -4:, -4:])
    assert wanted == [True]
    annotator.click(annotator.panel.sections["Regions"].ui.undoButton)
    np.testing.assert_array_equal(scene.label_ids(), drawn)


def test_two_clicks_are_taken_back_one_by_one(annotator, host):
    section = annotator.panel.sections["Regions"]
    ijk, label_id = wrong_here(annotator)
    labels = [annotator.scene.label_ids()]
    click(annotator, host, ijk, label_id)
    labels.append(annotator.scene.label_ids())
    second = annotator.session.state.result.regions[-1].ijk
    now = labels[-1][navigation.node_index(annotator.scene.scan, [second])][0]
    click(annotator, host, second, 0 if now else annotator.session.state.base.labels[0].id)
    labels.append(annotator.scene.label_ids())
    assert not np.array_equal(labels[1], labels[2])
    for expected in (labels[1], labels[0]):
        annotator.click(section.ui.undoButton)
        np.testing.assert_array_equal(annotator.scene.label_ids(), expected)
    for expected in labels[1:]:
        annotator.click(section.ui.redoButton)
        np.testing.assert_array_equal(annotator.scene.label_ids(), expected)
    annotator.click(section.ui.removeClicksButton)
    annotator.wait()
    np.testing.assert_array_equal(annotator.scene.label_ids(), labels[0])


def test_after_a_restart_a_click_keeps_what_was_drawn_and_clicked_before(annotator, host):
    scene, state = annotator.scene, annotator.session.state
    ijk, label_id = wrong_here(annotator)
    click(annotator, host, ijk, label_id)
    drawn, clicked = scene.label_ids(), state.corrections
    drawn[:2, :4, :4] = state.base.labels[0].id
    base = state.base

    annotator.cases.cases.open(state.sample.id)
    annotator.wait()
    state.base, state.corrections = None, clicked  # as a draft is restored: of the model only a key is known
    label = annotator.session.folder / "results" / base.key / "label.nii"
    scene.show_segmentation(label, base.labels, {})
    scene.draw(drawn)
    state.base = base
    annotator.session.show_result(base, None, {}, base=base)
    section = annotator.panel.sections["Regions"]
    assert section.clicks.count == 1
    second = state.result.regions[-1].ijk
    now = drawn[navigation.node_index(scene.scan, [second])][0]
    click(annotator, host, second, 0 if now else base.labels[0].id)
    assert len([voxel for voxels in state.corrections.values() for voxel in voxels]) == 2
    assert (scene.label_ids()[:2, :4, :4] == drawn[:2, :4, :4]).all()
    assert scene.label_ids()[navigation.node_index(scene.scan, [ijk])][0] == label_id
