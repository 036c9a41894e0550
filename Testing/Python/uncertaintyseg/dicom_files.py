"""DICOM files of frames that lie anywhere, classic or enhanced, made with pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, generate_uid

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
SERIES = generate_uid()
_GROUPS = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "StackID": "FrameContentSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "DiffusionBValue": "MRDiffusionSequence",
    "FrameType": "CTImageFrameTypeSequence",
}


@dataclass
class Slice:
    """`pixels` as stored, `[row, column]`, and what is said of them; None leaves an attribute out."""

    pixels: np.ndarray
    position: Sequence[float] | None
    orientation: Sequence[float] | None = UPRIGHT
    said: dict[str, Any] = field(default_factory=dict)

    @property
    def attributes(self) -> dict[str, Any]:
        place = {"ImagePositionPatient": self.position, "ImageOrientationPatient": self.orientation}
        found = {**place, "PixelSpacing": [0.9, 0.7], "RescaleSlope": 2, "RescaleIntercept": -1000, **self.said}
        return {name: list(v) if isinstance(v, tuple) else v for name, v in found.items() if v is not None}


def write_classic(folder: Path, slices: Sequence[Slice], *, series: str = SERIES) -> Path:
    """One file a slice, named in their order."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(slices):
        file = _file(CTImageStorage, one.pixels, series)
        file.InstanceNumber = number + 1
        for name, value in one.attributes.items():
            setattr(file, name, value)
        file.save_as(folder / f"{series[-4:]}_{number:03d}", write_like_original=False)
    return folder


def write_enhanced(path: Path, slices: Sequence[Slice], **attributes: Any) -> Path:
    """All slices as frames of one file, in their order; `attributes` are the file's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file = _file(EnhancedCTImageStorage, np.stack([one.pixels for one in slices]), SERIES)
    file.NumberOfFrames = len(slices)
    file.SharedFunctionalGroupsSequence = [Dataset()]
    file.PerFrameFunctionalGroupsSequence = [_groups(one.attributes) for one in slices]
    for name, value in attributes.items():
        setattr(file, name, value)
    file.save_as(path, write_like_original=False)
    return path


def _groups(attributes: dict[str, Any]) -> Dataset:
    frame = Dataset()
    for name, value in attributes.items():
        group = _GROUPS[name]
        if group not in frame:
            setattr(frame, group, [Dataset()])
        setattr(frame[group].value[0], name, value)
    return frame


def _file(kind: str, pixels: np.ndarray, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(None, {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID, file.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    file.SeriesInstanceUID, file.StudyInstanceUID, file.FrameOfReferenceUID = series, SERIES + ".1", SERIES + ".2"
    file.PatientID, file.Modality, file.SeriesNumber = "1", "CT", 7
    file.SamplesPerPixel, file.PhotometricInterpretation, file.PixelRepresentation = 1, "MONOCHROME2", 1
    file.BitsAllocated = file.BitsStored = 16
    file.HighBit, (file.Rows, file.Columns) = 15, pixels.shape[-2:]
    file.PixelData = np.ascontiguousarray(pixels, dtype="<i2").tobytes()
    file.is_little_endian, file.is_implicit_VR = True, False
    return file
