"""JPEG, JPEG-LS and JPEG 2000 in DICOM: expanded by GDCM in a process that has little memory, time and files.

GDCM sees a header that this server has written; what a client decides is the compressed frame alone. Where the system
cannot limit a process (only Linux keeps a limit of memory), such files are refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, CTImageStorage, generate_uid

from monailabel_app.dicom.pixels import frame_bytes, frame_count, packed_frames, syntax_of
from monailabel_app.limited import HAS_LIMITS, run_limited
from uncertaintyseg.errors import InputError

_READ = tuple(UID(f"1.2.840.10008.1.2.4.{number}") for number in (50, 51, 57, 70, 80, 81, 90, 91))
"""JPEG baseline, extended and lossless (two), JPEG-LS (two), JPEG 2000 (two)."""
_PROGRAM = Path(__file__).with_name("codec_process.py")
_MEMORY, _FRAMES = 2**31, 16  # bytes of address space, and so many frames beside
_SECONDS, _SECONDS_A_FRAME = 30, 0.5
_PIXEL_MODULE = ("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


def check_codec(header: Dataset) -> None:
    """Raise `InputError` unless `expand` takes pixels that are compressed like these."""
    if not (HAS_LIMITS and syntax_of(header) in _READ):
        raise InputError(
            f"its pixels are compressed ({syntax_of(header).name}), which this server does not expand. Export it "
            "without compression (Explicit VR Little Endian), or give NIfTI"
        )


def expand(headers: Sequence[Dataset], folder: Path) -> dict[str, Path]:
    """Expand files that `check_codec` has seen.

    Args:
        headers: of the files.
        folder: an empty one, which gets all pixels.

    Returns:
        For each file's name a file with its frames, little endian as they would be stored without compression.

    Raises:
        InputError: One cannot be expanded; the message has its name without its folder.
    """
    parts: dict[str, list[Path]] = {}
    for number, header in enumerate(headers):
        parts[header.filename] = [folder / f"{number:05d}_{frame:05d}.raw" for frame in range(frame_count(header))]
        for path, packed in zip(parts[header.filename], packed_frames(header), strict=True):
            _write(header, packed, path.with_suffix(".dcm"))
    _run(folder, max(map(frame_bytes, headers)), sum(map(frame_count, headers)))
    return {header.filename: _joined(header, parts[header.filename]) for header in headers}


def _write(header: Dataset, packed: bytes, path: Path) -> None:
    """A file of one frame that says what is needed, and nothing else of the client's."""
    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.file_meta.TransferSyntaxUID = syntax_of(header)
    one.SOPClassUID = one.file_meta.MediaStorageSOPClassUID = CTImageStorage
    one.SOPInstanceUID = one.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    for name in _PIXEL_MODULE:
        setattr(one, name, int(header.get(name) or 0))
    one.PixelData = encapsulate([packed])
    one["PixelData"].is_undefined_length = True
    one.is_little_endian, one.is_implicit_VR = True, False
    dcmwrite(path, one, write_like_original=False)


def _run(folder: Path, frame: int, count: int) -> None:
    seconds = round(_SECONDS + count * _SECONDS_A_FRAME)
    run_limited(_PROGRAM, folder, memory=_MEMORY + _FRAMES * frame, seconds=seconds, file_bytes=frame)


def _joined(header: Dataset, parts: Sequence[Path]) -> Path:
    """The frames of one file, each of which must be there and whole."""
    whole = parts[0].with_suffix(".frames")
    with whole.open("xb") as file:
        for path in parts:
            if not path.is_file() or path.stat().st_size != frame_bytes(header):
                name = Path(header.filename).name
                raise InputError(
                    f"{name}: its pixels ({syntax_of(header).name}) cannot be expanded within this server's limits, or "
                    "are damaged. Export it without compression (Explicit VR Little Endian), or give NIfTI"
                )
            file.write(path.read_bytes())
            path.unlink()
    return whole
