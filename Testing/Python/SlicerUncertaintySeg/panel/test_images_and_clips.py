"""Images and clips in the panel: areas instead of volumes, one view for one slice, frames that play and are plotted."""

from __future__ import annotations

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
import slicer
from PIL import Image

pytest.importorskip("PySide6")

from Testing.Python.SlicerUncertaintySeg.flat_cases import PIXEL_MM2, border, discs, told, write_case
from Testing.Python.SlicerUncertaintySeg.review_curve import a_result
from UncertaintySegLib.logic import report, report_page, settings
from UncertaintySegLib.logic.clips import curves
from UncertaintySegLib.logic.structures import volume
from UncertaintySegLib.panel.regions_section import RegionsSection
from UncertaintySegLib.panel.report_section import ReportSection
from UncertaintySegLib.panel.risk_section import RiskSection
from UncertaintySegLib.panel.segment_section import SegmentSection
from UncertaintySegLib.panel.selection_section import SelectionSection
from UncertaintySegLib.scene import layouts
from UncertaintySegLib.server.replies import Model, Sample, ServerInfo

FRAMES = 5
FOUR_UP = 3


@pytest.fixture
def panel(open_panel, host):
    slicer.app.layoutManager().setLayout(FOUR_UP)
    panel = open_panel(RiskSection, SelectionSection, RegionsSection)
    yield panel
    panel.sections["Risk"].close()


@pytest.fixture
def show(session, tmp_path):
    """The function that opens an image, or a clip of several frames, with a result; `fields` are of that."""

    def show(frames: int, unit: str = "mm2", **fields):
        from slicer_host import desktop

        files = write_case(tmp_path / str(frames), frames, 0.5 if unit == "mm2" else 1.0)
        axis = "time" if frames > 1 else ""
        session.open_case(Sample(files.name, axis=axis), files.scan)
        known = {**told(frames, unit), "labels": files.labels, "maps": {"error_probability": files.info}, **fields}
        session.show_result(a_result(**known), files.label, {"error_probability": files.risk})
        desktop.process_events()
        return files

    return show


def headings(table) -> list[str]:
    return [table.horizontalHeaderItem(column).text() for column in range(table.columnCount)]


@pytest.mark.parametrize(("unit", "shown"), [("mm2", "mm²"), ("px", "px")])
def test_areas_are_told_wherever_volumes_are_of_volumes(panel, session, show, unit, shown):
    show(1, unit)
    area, wrong = (of(1).sum() * (PIXEL_MM2 if unit == "mm2" else 1) for of in (discs, border))
    risk, regions = panel.sections["Risk"].ui, panel.sections["Regions"].ui
    assert headings(risk.structuresTable)[:3] == ["Structure", f"Error,\n{shown}", f"Area, {shown}\n[95 %]"]
    assert f"Area, {shown} [95 %]: {volume(area)} [90.0, 110]" in risk.structuresTable.item(0, 0).toolTip()
    assert headings(regions.regionsTable)[3:5] == [shown, f"Wrong, {shown}"]
    assert regions.progressLabel.text.endswith(f"of {wrong:.2f} {shown}.")
    assert panel.ui.summaryLabel.text.startswith(f"head: {volume(wrong)} {shown} are expected to be wrong")
    assert "at most 5 % of the true area stays wrong on average" in panel.ui.summaryLabel.text
    sentence = panel.sections["Selection"].ui.sentenceLabel.text
    assert f"(2.00 {shown}, 7 regions): expected remaining error 1.2 % of the true area" in sentence
    page = report_page.html(report.gather(session))
    assert f"{shown} expected to be wrong of {volume(area)} {shown}" in page
    assert f"95 % from, {shown}" in page
    assert " mL" not in page.replace("reviewed", "")


def test_volumes_are_told_in_mL_again_after_an_image(panel, session, show, show_result):
    show(1)
    show_result(remaining_error_ml=1.5)
    assert session.state.size_unit == "mL"
    assert panel.sections["Risk"].ui.structuresTable.rowCount == 0
    assert "(2.00 mL, 7 regions)" in panel.sections["Selection"].ui.sentenceLabel.text


def test_an_image_has_one_view_and_a_volume_the_layout_from_before(panel, session, show, show_result, host):
    show(1)
    assert slicer.app.layoutManager().layout == layouts.IMAGE
    assert [node.GetLayoutName() for node in host.layout.shown()] == ["Red"]
    red = host.slice_view("Red").node
    assert red.GetSliceOffset() == pytest.approx(0.0)
    assert red.GetFieldOfView()[1] < 40  # 16 mm high, and not some default
    for check_box in (panel.sections["Risk"].ui.surfaceCheckBox, panel.sections["Risk"].ui.glowCheckBox):
        assert not check_box.enabled
    assert report.gather(session).three_d is None
    show_result()
    assert slicer.app.layoutManager().layout == FOUR_UP


def test_the_view_is_turned_to_an_image_that_lies_otherwise_and_back(panel, session, host, tmp_path, show_result):
    import nibabel as nib

    across = np.array([[0, 0, 1.0, 0], [1.0, 0, 0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])  # a sagittal slice
    values = np.arange(12 * 9, dtype=np.int16).reshape(12, 9, 1)
    nib.Nifti1Image(values, across).to_filename(tmp_path / "sagittal.nii.gz")
    before = slicer.util.arrayFromVTKMatrix(host.slice_view("Red").node.GetSliceToRAS())[:3, :3]
    session.open_case(Sample("sagittal"), tmp_path / "sagittal.nii.gz")
    normal = slicer.util.arrayFromVTKMatrix(host.slice_view("Red").node.GetSliceToRAS())[:3, 2]
    np.testing.assert_allclose(np.abs(normal), [1, 0, 0], atol=1e-6)
    show_result()
    after = slicer.util.arrayFromVTKMatrix(host.slice_view("Red").node.GetSliceToRAS())[:3, :3]
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_a_layout_of_ours_comes_back_after_an_image_and_comparing_stays_possible(panel, session, show, show_result):
    views = panel.sections["Risk"].views
    show_result()
    views.show(layouts.ANNOTATOR)
    show(1)
    assert slicer.app.layoutManager().layout == layouts.IMAGE
    panel.sections["Risk"].ui.compareLayoutButton.click()
    assert slicer.app.layoutManager().layout == layouts.COMPARE
    panel.sections["Risk"].ui.annotatorLayoutButton.click()
    assert slicer.app.layoutManager().layout == layouts.IMAGE
    show_result()
    assert slicer.app.layoutManager().layout == layouts.ANNOTATOR
    views.restore()
    assert slicer.app.layoutManager().layout == FOUR_UP


def test_a_clip_begins_at_its_first_frame_and_a_region_is_where_its_frame_is(panel, session, show, host):
    show(FRAMES)
    assert slicer.app.layoutManager().layout == layouts.CLIP
    clip, regions = panel.sections["Risk"].clips.clip, panel.sections["Regions"]
    assert (clip.count, clip.frame) == (FRAMES, 0)
    table = regions.ui.regionsTable
    worst = int(border(FRAMES).sum((0, 1)).argmax())
    assert (headings(table)[6], table.item(0, 6).text()) == ("Frame", f"{worst + 1}")
    assert not table.isColumnHidden(6)
    regions.regions.select(0)
    assert clip.frame == worst
    assert host.slice_view("Red").node.GetSliceOffset() == pytest.approx(worst)
    regions.actions()["fit"]()
    panel.sections["Risk"].ui.compareLayoutButton.click()
    assert clip.frame == worst
    assert host.slice_view(layouts.PLAIN_VIEW).node.GetSliceOffset() == pytest.approx(worst)
    assert f"frame {worst + 1}: " in report_page.html(report.gather(session))


def test_areas_and_doubt_are_plotted_over_time_with_the_frame_that_is_shown(panel, session, show, host):
    show(FRAMES)
    clips = panel.sections["Risk"].clips
    areas, doubt = (
        slicer.mrmlScene.GetNodeByID(host.plot_view(name).node.GetPlotChartNodeID()) for name in clips.plot.charts
    )
    assert (areas.GetTitle(), areas.GetYAxisTitle()) == ("Area over time", "Area (mm²)")
    assert doubt.GetYAxisTitle() == "Error probability, mean of the frame"
    head, wrong, line = (areas.GetNthPlotSeriesNode(place) for place in range(3))
    assert [series.GetName() for series in (head, wrong, line)] == ["head", "expected to be wrong (all)", "frame 1"]
    column = head.GetTableNode().GetTable().GetColumnByName
    drawn = {name: [column(name).GetValue(frame) for frame in range(FRAMES)] for name in ("frame", "head")}
    assert drawn["frame"] == [1, 2, 3, 4, 5]
    assert drawn["head"] == pytest.approx((discs(FRAMES).sum((0, 1)) * PIXEL_MM2).tolist())
    clips.clip.go_to(3)
    assert (line.GetName(), line.GetTableNode().GetTable().GetColumn(0).GetValue(0)) == ("frame 4", 4.0)


@pytest.mark.parametrize(("unit", "pixel", "shown"), [("mm2", PIXEL_MM2, "mm²"), ("px", 1.0, "px")])
def test_the_report_of_a_clip_has_its_areas_and_its_doubt_over_time(
    open_panel, session, show, host, tmp_path, unit, pixel, shown
):
    panel = open_panel(RiskSection, ReportSection)
    host.slice_view("Red")
    ui = panel.sections["Report"].ui
    ui.folderPathLineEdit.currentPath = str(tmp_path / "reports")
    show(FRAMES, unit)
    areas, doubt = curves(session).charts()
    assert (areas.y_title, doubt.y_title) == (f"Area ({shown})", "Error probability, mean of the frame")
    assert areas.lines["head"][0] == pytest.approx((discs(FRAMES).sum((0, 1)) * pixel).tolist())
    assert areas.lines["expected to be wrong (all)"][0] == pytest.approx((border(FRAMES).sum((0, 1)) * pixel).tolist())
    ui.reportButton.click()
    (path,) = (tmp_path / "reports").glob("*.html")
    page = path.read_text(encoding="utf-8")
    found = dict(re.findall(r'alt="([^"]+)" src="data:image/png;base64,([^"]+)"', page))
    assert page.index("Over time") < page.index("The worst places")
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["Area over time"]))).convert("RGB")).astype(int)
    assert {"Area over time", "Uncertainty over time"} <= set(found)
    head, wrong = (areas.lines[name][1] for name in ("head", "expected to be wrong (all)"))
    for color, rises in ((head, 0.5), (wrong, 0.05)):
        rgb = [round(255 * part) for part in color]
        assert f'<span style="color: #{rgb[0]:02x}{rgb[1]:02x}{rgb[2]:02x}">' in page
        rows, columns = np.nonzero(np.abs(picture - rgb).sum(axis=-1) < 30)
        first, last = (rows[columns == end(columns)].mean() for end in (np.min, np.max))
        assert first - last > rises * np.ptp(rows)  # larger from frame to frame
        assert np.ptp(columns) > picture.shape[1] / 2
    panel.sections["Risk"].close()


def test_the_report_of_an_image_has_nothing_over_time(open_panel, session, show, host):
    panel = open_panel(RiskSection)
    host.slice_view("Red")
    show(1)
    assert curves(session) is None
    assert "Over time" not in report_page.html(report.gather(session))
    panel.sections["Risk"].close()


def test_a_clip_that_is_known_as_one_only_by_its_result_is_one_from_then_on(panel, session, show, tmp_path):
    files = write_case(tmp_path, FRAMES)
    session.open_case(Sample(files.name), files.scan)
    assert slicer.app.layoutManager().layout == FOUR_UP
    show_fields = {**told(FRAMES), "labels": files.labels, "maps": {"error_probability": files.info}}
    session.show_result(a_result(**show_fields), files.label, {"error_probability": files.risk})
    assert slicer.app.layoutManager().layout == layouts.CLIP
    assert panel.sections["Risk"].clips.clip.count == FRAMES


def test_nothing_of_a_clip_stays_when_its_case_is_closed(panel, session, show, host):
    show(FRAMES)
    session.close_case()
    kinds = ("vtkMRMLSequenceNode", "vtkMRMLSequenceBrowserNode", "vtkMRMLPlotChartNode", "vtkMRMLScalarVolumeNode")
    assert [host.scene.GetNumberOfNodesByClass(kind) for kind in kinds] == [0, 0, 0, 0]
    assert slicer.app.layoutManager().layout == FOUR_UP


def info(*models: Model) -> ServerInfo:
    return ServerInfo("server", "0.1.0", {model.name: model for model in models}, {})


VOLUMES, IMAGES = Model("ct_low_rank", (), dimensions=3, task="ct"), Model("us_low_rank", (), dimensions=2, task="us")


@pytest.fixture
def chooser(open_panel, session, host):
    settings.remember("model", "ct_low_rank")
    settings.remember("flatModel", "us_low_rank")
    panel = open_panel(SegmentSection)
    yield panel.sections["Segment"]
    settings.remember("model", "")
    settings.remember("flatModel", "")


def offered(section) -> list[str]:
    box = section.ui.taskComboBox
    return [box.itemText(place) for place in range(box.count)]


def test_only_models_that_take_the_scan_are_offered_and_each_kind_has_its_last_one(chooser, session, show, show_result):
    session.state.info = info(VOLUMES, IMAGES)
    session.changed.emit()
    assert offered(chooser) == ["ct", "us"]
    show(1)
    assert (offered(chooser), session.state.model) == (["us"], "us_low_rank")
    assert "image is an image of one slice: ct_low_rank take volumes." in chooser.ui.modelComboBox.toolTip
    show_result()
    assert (offered(chooser), session.state.model) == (["ct"], "ct_low_rank")


@pytest.mark.parametrize(
    ("models", "frames", "said"),
    [
        (
            [VOLUMES],
            1,
            "No model of this server takes the scan. image is an image of one slice: ct_low_rank take volumes.",
        ),
        ([VOLUMES], 5, "sweep is a clip, whose third axis is time: ct_low_rank take volumes."),
        ([IMAGES], 0, "phantom_1 is a volume: us_low_rank take images and clips."),
    ],
)
def test_where_no_model_takes_the_scan_the_panel_says_why(chooser, session, show, show_result, models, frames, said):
    session.state.info = info(*models)
    show(frames) if frames else show_result()
    assert said in chooser.ui.aboutLabel.text
    assert not chooser.ui.runButton.isEnabled()


def test_a_model_that_does_not_take_the_scan_is_not_run(chooser, session, show):
    show(1)
    chooser.inference.run(replace(VOLUMES, maps=("error_probability",)))
    assert session.state.is_error
    assert session.state.message == "image is an image of one slice: ct_low_rank take volumes."
