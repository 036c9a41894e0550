"""Volumes as clients send them, whole and spoilt. Spoilt ones are made here and never reach another reader."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

ARRAY = np.arange(60, dtype=np.int16).reshape(3, 4, 5, order="F")
MHA = {
    "ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False",
    "CompressedData": "False", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0", "ElementSpacing": "1 1 1",
    "DimSize": "3 4 5", "ElementType": "MET_SHORT", "ElementDataFile": "LOCAL",
}  # fmt: skip
NRRD = {
    "type": "short", "dimension": "3", "space": "left-posterior-superior", "sizes": "3 4 5",
    "space directions": "(1,0,0) (0,1,0) (0,0,1)", "kinds": "domain domain domain", "endian": "little",
    "encoding": "raw", "space origin": "(0,0,0)",
}  # fmt: skip
VOXELS = ARRAY.tobytes(order="F")


def nifti(kind: type = nib.Nifti1Image, array: np.ndarray = ARRAY, **fields: object) -> bytes:
    """A small NIfTI file, with fields of its header changed afterwards."""
    data = bytearray(kind(array, np.eye(4), dtype=array.dtype).to_bytes())
    header = kind.header_class(bytes(data[: kind.header_class.sizeof_hdr]), check=False)
    for name, value in fields.items():
        header[name] = value
    data[: header.sizeof_hdr] = header.binaryblock
    return bytes(data)


def big_endian(kind: type = nib.Nifti1Image) -> bytes:
    """The same in the other byte order."""
    image = kind(ARRAY, np.eye(4), header=kind.header_class(endianness=">"))
    image.set_data_dtype(">i2")
    return image.to_bytes()


def mha(voxels: bytes = VOXELS, separator: str = " = ", **fields: str | None) -> bytes:
    """A MetaImage with fields changed, or left out where None; new ones come before the last."""
    header = {**MHA, **fields}
    header["ElementDataFile"] = header.pop("ElementDataFile")
    lines = [f"{name}{separator}{value}\n" for name, value in header.items() if value is not None]
    return "".join(lines).encode() + voxels


def nrrd(voxels: bytes = VOXELS, **fields: str) -> bytes:
    """A NRRD file with fields changed."""
    header = {**NRRD, **{name.replace("_", " "): value for name, value in fields.items()}}
    return ("NRRD0004\n" + "".join(f"{name}: {value}\n" for name, value in header.items()) + "\n").encode() + voxels


def packed_zeros(mebibytes: int, head: bytes = b"", form: str = "gzip") -> bytes:
    """What expands to a head and so many zeros, in no time: one packed mebibyte again and again.

    Args:
        mebibytes: of zeros.
        head: comes before them.
        form: "gzip", "zlib" or "raw" deflate.
    """
    zeros, (first, again) = bytes(2**20), (_packed_to_a_byte(part) for part in (head, bytes(2**20)))
    body = first + again * mebibytes + zlib.compressobj(9, wbits=-15).flush()
    if form == "raw":
        return body
    summed = zlib.crc32 if form == "gzip" else zlib.adler32
    total = summed(head)
    for _ in range(mebibytes):
        total = summed(zeros, total)
    if form == "zlib":
        return b"\x78\xda" + body + total.to_bytes(4, "big")
    size = (len(head) + mebibytes * 2**20) % 2**32
    return b"\x1f\x8b\x08\0\0\0\0\0\2\xff" + body + total.to_bytes(4, "little") + size.to_bytes(4, "little")


def _packed_to_a_byte(data: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH)


def good_files() -> dict[str, bytes]:
    """The same voxels in every form that is taken, by file name."""
    packed = zlib.compress(VOXELS)
    half = len(gzip.decompress(gzip.compress(nifti()))) // 2
    return {
        "first.nii": nifti(),
        "second.nii": nifti(nib.Nifti2Image),
        "big.nii": big_endian(),
        "big_second.nii": big_endian(nib.Nifti2Image),
        "UPPER.NII.GZ": gzip.compress(nifti()),
        "members.nii.gz": gzip.compress(nifti()[:half]) + gzip.compress(b"") + gzip.compress(nifti()[half:]),
        "plain.mha": mha(),
        "big.mha": mha(ARRAY.astype(">i2").tobytes(order="F"), BinaryDataByteOrderMSB="True"),
        "packed.mha": mha(packed, CompressedData="True", CompressedDataSize=str(len(packed))),
        "metadata.mha": mha(**{"dim[0]": "3", "0010|0010": "Übung", "ITK_FileNotes": "a = b: c"}),
        "plain.nrrd": nrrd(),
        "packed.nrrd": nrrd(gzip.compress(VOXELS), encoding="gzip"),
    }


def write(folder: Path, name: str, data: bytes) -> Path:
    """Write a file and return its path."""
    path = folder / name
    path.write_bytes(data)
    return path
