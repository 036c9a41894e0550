"""DICOM images without a place in space: single ultrasound images and cine clips.

They are scans of one slice, and clips. Their spacing is what `SequenceOfUltrasoundRegions` says in cm, else
`PixelSpacing`, else unknown. Of colours, the grey of `images.to_grey`; YBR_FULL holds that very value as its Y.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pydicom
import SimpleITK as sitk  # noqa: N813
from pydicom import Dataset
from pydicom.pixel_data_handlers.util import apply_color_lut

from uncertaintyseg.data.images import Stored, plane, to_grey
from uncertaintyseg.data.time_axis import AXIS, SPACING_KNOWN, TIME
from uncertaintyseg.errors import InputError

_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.3",  # ultrasound multi-frame, retired
    "1.2.840.10008.5.1.4.1.1.3.1",  # ultrasound multi-frame
    "1.2.840.10008.5.1.4.1.1.6",  # ultrasound, retired
    "1.2.840.10008.5.1.4.1.1.6.1",  # ultrasound
)
_TWO_DIMENSIONAL, _CM = 1, 3
"""RegionSpatialFormat and PhysicalUnitsXDirection, DICOM PS3.3 C.8.5.5.1."""
_SAME = 1e-3


def is_flat(headers: Sequence[Dataset]) -> bool:
    """Whether DICOM files hold ultrasound images or clips, which have no place in space."""
    return bool(headers) and all(header.get("SOPClassUID") in _CLASSES for header in headers)


def read_flat(headers: Sequence[Dataset]) -> Stored:
    """The image or the clip of one DICOM file.

    Args:
        headers: of all files that were given, as `dicom.read_headers` gives them; there must be one.

    Raises:
        InputError: They are several, or the pixels cannot be decoded, of a transfer syntax that is not supported, whose
            name is told.
    """
    if len(headers) != 1:
        raise InputError(
            f"{len(headers)} ultrasound files, and each is an image or a clip of its own; give one of them."
        )
    header = headers[0]
    frames = _grey_frames(header)
    spacing = _spacing(header)
    about: dict[str, object] = {} if spacing else {SPACING_KNOWN: False}
    if len(frames) > 1 or int(header.get("NumberOfFrames") or 1) > 1:
        about[AXIS] = TIME
    return Stored(frames.transpose(2, 1, 0), plane(spacing or (1.0, 1.0)), about)


def _spacing(header: Dataset) -> tuple[float, float] | None:
    """Size of a pixel in mm, between columns and between rows; None where nobody says, or regions do not agree."""
    said = [
        (abs(float(region.PhysicalDeltaX)) * 10, abs(float(region.PhysicalDeltaY)) * 10)
        for region in header.get("SequenceOfUltrasoundRegions") or []
        if region.get("RegionSpatialFormat") == _TWO_DIMENSIONAL
        and region.get("PhysicalUnitsXDirection") == region.get("PhysicalUnitsYDirection") == _CM
        and region.get("PhysicalDeltaX")
        and region.get("PhysicalDeltaY")
    ]
    if not said and header.get("PixelSpacing"):
        between_rows, between_columns = (float(value) for value in header.PixelSpacing)
        said = [(between_columns, between_rows)]
    if not said or not np.allclose(said, said[0], rtol=_SAME) or min(said[0]) <= 0:
        return None
    return said[0]


def _grey_frames(header: Dataset) -> np.ndarray:
    """float32 `[frame, row, column]`."""
    kind = str(header.get("PhotometricInterpretation", ""))
    pixels, kind, data = _decoded(header, kind)
    if header.get("SamplesPerPixel", 1) == 1:
        pixels = pixels.reshape(-1, *pixels.shape[-2:])
        if kind == "PALETTE COLOR":
            return np.stack([to_grey(apply_color_lut(frame, data)[..., :3]) for frame in pixels])
        grey = pixels.astype(np.float32)
        return 2.0 ** int(header.BitsStored) - 1 - grey if kind == "MONOCHROME1" else grey
    pixels = pixels.reshape(-1, *pixels.shape[-3:])
    if kind in ("YBR_FULL", "YBR_FULL_422"):
        return _luma(pixels)
    if kind != "RGB":
        raise InputError(
            f"its PhotometricInterpretation is {kind}; RGB, YBR_FULL, YBR_FULL_422, PALETTE COLOR and grey are read. "
            "Export it again, as RGB."
        )
    return np.stack([to_grey(frame) for frame in pixels])


def _luma(pixels: np.ndarray) -> np.ndarray:
    """Y of YBR_FULL, which is the luma of BT.601 from 0 to 255 (DICOM PS3.3 C.7.6.3.1.2)."""
    return pixels[..., 0].astype(np.float32)


def _decoded(header: Dataset, kind: str) -> tuple[np.ndarray, str, Dataset]:
    """Pixels as they are stored, what their channels mean once decoded, and the data set they were decoded from."""
    data = pydicom.dcmread(header.filename)
    syntax = data.file_meta.get("TransferSyntaxUID")
    try:
        pixels = data.pixel_array
        return pixels, str(data.PhotometricInterpretation), data
    except (NotImplementedError, RuntimeError, AttributeError, ValueError, TypeError, OSError, EOFError) as error:
        reason = error
    if syntax is not None and syntax.is_compressed and (header.get("SamplesPerPixel", 1) == 1 or kind == "RGB"):
        try:  # GDCM has decoders that pydicom lacks, such as that of lossless JPEG
            image = sitk.ReadImage(str(header.filename), imageIO="GDCMImageIO")
            return sitk.GetArrayFromImage(image), kind, data
        except RuntimeError:
            pass
    if syntax is not None and syntax.is_compressed:
        raise InputError(
            f"its pixels are {syntax.name}, which is not decoded here, or damaged: export it again without compression "
            f"(dcmdjpeg, gdcmconv --raw), or a video as a folder of PNG frames. ({reason})"
        ) from reason
    raise InputError(f"its pixels cannot be read: export it again. ({reason})") from reason
