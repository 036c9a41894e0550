"""Writes DICOM series as scanners do, from a volume and its affine."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def rotation(x_degrees: float, y_degrees: float, z_degrees: float) -> np.ndarray:
    """3x3, about x, then y, then z."""
    turn = np.eye(3)
    for axis, degrees in enumerate((x_degrees, y_degrees, z_degrees)):
        a, b = [i for i in range(3) if i != axis]
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        one = np.eye(3)
        one[a, a], one[b, b], one[a, b], one[b, a] = c, c, -s, s
        turn = one @ turn
    return turn


def make_affine(spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), turn=None) -> np.ndarray:
    """4x4 RAS+ affine; a right-handed LPS frame, as DICOM's, when `turn` is a rotation."""
    affine = np.eye(4)
    affine[:3, :3] = (np.eye(3) if turn is None else turn) * np.asarray(spacing, dtype=float)
    affine[:3, 3] = origin
    return LPS_TO_RAS @ affine


def write_series(
    folder: Path,
    hounsfield: np.ndarray,
    affine: np.ndarray,
    *,
    slope: float = 1.0,
    intercept: float = -1024.0,
    shuffle: int | None = None,
    reverse: bool = False,
    tilt_mm: float = 0.0,
    modality: str = "CT",
) -> str:
    """Write `[X, Y, Z]` as one file a slice and return the SeriesInstanceUID.

    `shuffle` seeds names and instance numbers in no order; `reverse` numbers them from the last slice; `tilt_mm` moves
    each slice sideways against the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    to_lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    x, y = to_lps[:3, 0] / spacing[0], to_lps[:3, 1] / spacing[1]
    numbers = list(range(hounsfield.shape[2]))
    if reverse:
        numbers.reverse()
    if shuffle is not None:
        random.Random(shuffle).shuffle(numbers)
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")}
    for k, number in enumerate(numbers):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        slice_ = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        slice_.is_little_endian, slice_.is_implicit_VR = True, False
        slice_.SOPClassUID, slice_.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        for name, uid in uids.items():
            setattr(slice_, name, uid)
        slice_.Modality, slice_.PatientID, slice_.PatientName = modality, "phantom", "Phantom^One"
        slice_.InstanceNumber = number + 1
        slice_.Columns, slice_.Rows = hounsfield.shape[:2]
        slice_.PixelSpacing = [f"{spacing[1]:.10g}", f"{spacing[0]:.10g}"]
        slice_.ImageOrientationPatient = [f"{v:.10f}"[:16] for v in (*x, *y)]
        position = to_lps[:3, 3] + k * (to_lps[:3, 2] + tilt_mm * y)
        slice_.ImagePositionPatient = [f"{v:.8f}"[:16] for v in position]
        slice_.SamplesPerPixel, slice_.PhotometricInterpretation = 1, "MONOCHROME2"
        slice_.BitsAllocated = slice_.BitsStored = 16
        slice_.HighBit, slice_.PixelRepresentation = 15, 0
        slice_.RescaleSlope, slice_.RescaleIntercept = slope, intercept
        stored = np.rint((hounsfield[:, :, k].T - intercept) / slope)
        slice_.PixelData = np.ascontiguousarray(stored.astype("<u2")).tobytes()
        slice_.save_as(folder / f"{number:04d}.dcm", write_like_original=False)
    return str(uids["SeriesInstanceUID"])
