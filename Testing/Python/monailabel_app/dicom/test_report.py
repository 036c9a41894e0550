"""A report as Encapsulated PDF: whose it is, what it is about, and that making it again makes the same object."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom.uid import EncapsulatedPDFStorage, SegmentationStorage, generate_uid

from monailabel_app.dicom.coding import Source
from monailabel_app.dicom.outbox import encode
from monailabel_app.dicom.report import checked_pdf, encapsulated_report
from monailabel_app.dicom.segmentation import segmentation
from monailabel_app.dicom.series import read_series
from Testing.Python.monailabel_app.dicom.dicom_series import make_affine, write_series
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError

PDF = b"%PDF-1.4\n1 0 obj<<>>endobj\ntrailer<<>>\n%%EOF\n"
SOURCE = Source("m", "ab" * 32, edited=True, identity="1.2.3 7 abcd report")


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    """A series of a patient whose name is written in three scripts."""
    folder = tmp_path_factory.mktemp("series") / "named"
    write_series(folder, np.zeros((6, 5, 4)), make_affine())
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        header.SpecificCharacterSet = "ISO_IR 192"
        header.PatientName, header.PatientID = "Yamada^Tarou=山田^太郎=やまだ^たろう", "ID-7"
        header.PatientBirthDate, header.PatientSex, header.AccessionNumber = "19700102", "M", "A1"
        header.StudyDate, header.StudyTime, header.StudyID = "20240102", "101112", "S1"
        header.save_as(path)
    return read_series(folder)


def read_back(instance) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(encode(instance)))


def test_a_report_is_the_patients_and_holds_the_file_as_it_is(series):
    seg_uid, header = generate_uid(), series.headers[0]
    stored = read_back(encapsulated_report(PDF, seg_uid, series, SOURCE))
    assert stored.SOPClassUID == stored.file_meta.MediaStorageSOPClassUID == EncapsulatedPDFStorage
    for name in (
        "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyInstanceUID", "StudyDate", "StudyTime",
        "StudyID", "AccessionNumber",
    ):  # fmt: skip
        assert stored[name].value == header[name].value, name
    assert stored.SeriesInstanceUID != header.SeriesInstanceUID
    assert (stored.Modality, stored.ConversionType) == ("DOC", "WSD")
    assert (stored.MIMETypeOfEncapsulatedDocument, stored.BurnedInAnnotation) == ("application/pdf", "YES")
    assert "research only, not for clinical use" in stored.DocumentTitle
    assert "Research only, not for clinical use" in stored.SeriesDescription
    assert len(stored.SeriesDescription) <= 64
    assert stored.VerificationFlag == "UNVERIFIED"
    [concept], [source] = stored.ConceptNameCodeSequence, stored.SourceInstanceSequence
    assert (concept.CodeValue, concept.CodingSchemeDesignator) == ("126000", "DCM")
    assert (source.ReferencedSOPClassUID, source.ReferencedSOPInstanceUID) == (SegmentationStorage, seg_uid)
    assert stored.EncapsulatedDocument[: stored.EncapsulatedDocumentLength] == PDF
    assert len(stored.EncapsulatedDocument) % 2 == 0


def test_made_again_it_is_the_same_object_and_of_another_version_another(series):
    def uids(identity):
        report = encapsulated_report(PDF, generate_uid(), series, Source(identity=identity))
        return report.SOPInstanceUID, report.SeriesInstanceUID

    assert uids("a 1 ff report") == uids("a 1 ff report")
    others = [*uids("a 1 ff report"), *uids("a 2 ff report"), *uids("a 1 ff label"), *uids("")]
    assert len(set(others)) == len(others)


def test_a_segmentation_keeps_a_name_in_any_script_and_says_research_only(series):
    label = [wire.Label(id=1, name="organ", rgb=(1, 2, 3))]
    values = np.ones((6, 5, 4), np.uint8)
    stored = read_back(segmentation(values, series.affine, label, series, Source()))
    assert stored.PatientName == series.headers[0].PatientName
    assert str(stored.PatientName.ideographic) == "山田^太郎"
    assert stored.ContentDescription == "Research only, not for clinical use"


@pytest.mark.parametrize("data", [b"", b"%PDF", b"<html>", b" %PDF-1.4"])
def test_what_is_no_pdf_is_refused(data):
    with pytest.raises(InputError, match="%PDF-"):
        checked_pdf(data)
