"""A report on a label as Encapsulated PDF."""

from __future__ import annotations

import highdicom as hd
from pydicom import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian, SegmentationStorage

from monailabel_app.dicom.coding import RESEARCH_ONLY, Source, with_text_of
from monailabel_app.dicom.series import Series
from uncertaintyseg.errors import InputError

_SERIES_NUMBER = 902
_BEGIN = b"%PDF-"


def checked_pdf(data: bytes) -> bytes:
    """Return the bytes of a PDF file. Raises `InputError` for other ones; nothing more of them is read."""
    if not data.startswith(_BEGIN):
        raise InputError("report: not a PDF file, whose first bytes are %PDF-")
    return data


def encapsulated_report(pdf: bytes, seg_uid: str, series: Series, source: Source) -> Dataset:
    """Wrap a report on a label for the study of its series (DICOM PS3.3 A.45.1).

    Args:
        pdf: The file, as it is: who it names and what it does when it is opened is its maker's.
        seg_uid: SOPInstanceUID of the label that it reports on, a DICOM Segmentation.
        series: The scan; patient and study are copied from it.
        source: Who made the label.
    """
    header = series.headers[0]
    document = hd.base.SOPClass(
        study_instance_uid=header.StudyInstanceUID,
        series_number=_SERIES_NUMBER,
        sop_class_uid=EncapsulatedPDFStorage,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        modality="DOC",
        series_description=f"Report on a segmentation. {RESEARCH_ONLY}",
        **source.equipment(),
    )
    document.copy_patient_and_study_information(header)
    document.ConversionType = "WSD"
    document.AcquisitionDateTime = None
    document.BurnedInAnnotation = "YES"  # nobody has looked whether its pages name the patient
    document.DocumentTitle = f"Report on a segmentation - {RESEARCH_ONLY[0].lower()}{RESEARCH_ONLY[1:]}"
    document.ConceptNameCodeSequence = [hd.sr.CodedConcept.from_code(codes.DCM.ImagingMeasurementReport)]
    document.VerificationFlag = "UNVERIFIED"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = SegmentationStorage, seg_uid
    document.SourceInstanceSequence = [reference]
    document.MIMETypeOfEncapsulatedDocument = "application/pdf"
    document.EncapsulatedDocumentLength = len(pdf)
    document.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return with_text_of(document, header)
