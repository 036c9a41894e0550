"""DICOM ultrasound, as machines write it."""

from __future__ import annotations

from pydicom import Dataset
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

ONE, CINE = "1.2.840.10008.5.1.4.1.1.6.1", "1.2.840.10008.5.1.4.1.1.3.1"


def region(x=0.02, y=0.03, units=3, kind=1):
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType = kind, 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = units
    item.PhysicalDeltaX, item.PhysicalDeltaY = x, y
    return item


def write(path, pixels, photometric="MONOCHROME2", *, syntax=ExplicitVRLittleEndian, regions=(), data=None, **more):
    """`[frame, row, column]`, or with channels behind."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = CINE if len(pixels) > 1 else ONE
    meta.MediaStorageSOPInstanceUID = generate_uid()
    out = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    out.SOPClassUID, out.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    out.StudyInstanceUID, out.SeriesInstanceUID, out.Modality = generate_uid(), generate_uid(), "US"
    out.Rows, out.Columns = pixels.shape[1:3]
    out.SamplesPerPixel = 3 if pixels.ndim == 4 else 1
    if out.SamplesPerPixel == 3:
        out.PlanarConfiguration = 0
    out.PhotometricInterpretation = photometric
    out.BitsAllocated = out.BitsStored = 8 * pixels.itemsize
    out.HighBit, out.PixelRepresentation = out.BitsStored - 1, 0
    if len(pixels) > 1:
        out.NumberOfFrames, out.FrameTime = len(pixels), 40
    if regions:
        out.SequenceOfUltrasoundRegions = Sequence(regions)
    for name, value in more.items():
        setattr(out, name, value)
    out.PixelData = pixels.tobytes() if data is None else data
    out.is_little_endian, out.is_implicit_VR = True, False
    out["PixelData"].is_undefined_length = data is not None
    out.save_as(path, write_like_original=False)
    return path
