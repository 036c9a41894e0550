"""Expands compressed DICOM frames: a process of its own, started by `codec` with one folder, that cannot take much.

It imports nothing of ours, so that it starts fast and finds nothing to read.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path


def main(folder: str, memory: int, seconds: int, file_bytes: int) -> None:
    """Write NAME.raw, little endian, for every NAME.dcm in a folder, within limits that the system keeps."""
    import SimpleITK as sitk  # noqa: N813, PLC0415 - needs more open files than it may have afterwards

    limits = {"AS": memory, "CPU": seconds, "FSIZE": file_bytes, "NOFILE": 32, "CORE": 0}
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    for path in sorted(Path(folder).glob("*.dcm")):
        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="GDCMImageIO"))
        path.with_suffix(".raw").write_bytes(pixels.astype(pixels.dtype.newbyteorder("<"), copy=False).tobytes())


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
