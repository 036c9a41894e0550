"""The button that sends label and report to the archive: a real panel, our real server, a real Orthanc behind it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("PySide6")
pytest.importorskip("monailabel")

from slicer_host import desktop
from Testing.Python import servers
from Testing.Python.monailabel_app.dicom.conftest import hounsfield
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, write_series
from Testing.Python.monailabel_app.dicom.orthanc import running
from Testing.Python.SlicerUncertaintySeg.panel import pdf
from Testing.Python.SlicerUncertaintySeg.panel.annotator import sitting_at
from UncertaintySegLib.panel.cases_section import CasesSection
from UncertaintySegLib.panel.edit_section import EditSection
from UncertaintySegLib.panel.report_section import ReportSection
from UncertaintySegLib.panel.segment_section import SegmentSection

MODEL = "phantom_deterministic"


@pytest.fixture
def archive(tmp_path):
    """An Orthanc."""
    folder = tmp_path / "orthanc"
    folder.mkdir()
    with running(folder) as orthanc:
        yield orthanc


@pytest.fixture
def image(archive, tmp_path) -> str:
    """The SeriesInstanceUID of the only series there."""
    uid = write_series(tmp_path / "series", hounsfield(), make_affine((1, 1.5, 2), (3, 4, 5)))
    archive.upload(tmp_path / "series")
    return uid


@pytest.fixture
def url(archive, image, tmp_path, monkeypatch):
    """The address of our server, whose studies are the archive's."""
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_CACHE_PATH", str(tmp_path / "mirror"))
    port = servers.find_free_port()
    command = [*servers.SERVE, "--studies", archive.url, "--port", str(port), "--cache", str(tmp_path / "cache")]
    process = servers.start(command, port, tmp_path)
    yield f"http://127.0.0.1:{port}"
    servers.stop(process)


@pytest.fixture
def annotator(host, url, image, tmp_path, monkeypatch):
    """Somebody who has run a model on the series and submitted its label."""
    from UncertaintySegLib.panel import edit_section

    monkeypatch.setattr(edit_section, "default_folder", lambda: tmp_path / "drafts")
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    desktop.answers.clear()
    with sitting_at([CasesSection, SegmentSection, EditSection, ReportSection], tmp_path / "downloads") as annotator:
        annotator.begin(url, MODEL, image)
        annotator.run()
        annotator.click(annotator.panel.sections["Edit"].ui.submitButton)
        annotator.wait()
        assert annotator.status.startswith(f"The label of {image} is saved"), annotator.status
        annotator.panel.sections["Report"].button.collapsed = False
        desktop.process_events()
        yield annotator
    desktop.answers.clear()


def press(annotator) -> str:
    """Press the button, agree, and return what was asked."""
    button = annotator.panel.sections["Report"].ui.archiveButton
    assert button.isVisible()
    desktop.answers.asked.clear()
    desktop.answers.buttons.append("Ok")
    annotator.click(button)
    annotator.wait()
    (question,) = desktop.answers.asked
    return question


def test_label_and_report_arrive_once_however_often_it_is_pressed(annotator, archive, image):
    place = f"Phantom, One (phantom) to {archive.url}?"
    said = f"Label and report of Phantom, One (phantom) are in the archive {archive.url}. Research only"
    assert press(annotator).startswith(f"Send label and report of {place}")
    assert annotator.status.startswith(said)
    [seg], [report] = archive.in_study_of(image, "SEG"), archive.in_study_of(image, "DOC")
    shown = annotator.scene.label_ids()
    assert shown.any()
    assert seg.pixel_array.sum() == np.count_nonzero(shown)
    assert seg.ReferencedSeriesSequence[0].SeriesInstanceUID == image
    assert report.SourceInstanceSequence[0].ReferencedSOPInstanceUID == seg.SOPInstanceUID
    assert (report.PatientID, str(report.PatientName)) == ("phantom", "Phantom^One")
    text = pdf.squeezed("".join(pdf.pages(report.EncapsulatedDocument)))
    assert pdf.squeezed(annotator.panel.ui.summaryLabel.text) in text
    assert pdf.squeezed("For research only; not for clinical decisions.") in text

    assert "already: they stay as they are. Send them again?" in press(annotator)
    assert annotator.status.startswith(said)
    kept = [archive.in_study_of(image, modality) for modality in ("SEG", "DOC")]
    assert [[one.SOPInstanceUID for one in objects] for objects in kept] == [
        [seg.SOPInstanceUID],
        [report.SOPInstanceUID],
    ]
