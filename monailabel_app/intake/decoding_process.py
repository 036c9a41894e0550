"""Decodes pictures and ultrasound files: a process of its own, started by `decoded`, that cannot take much.

What of ours it imports needs numpy alone.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path


def main(folder: str, memory: int, seconds: int, file_bytes: int) -> None:
    """Write N.npy and N.json for the N-th scan that `scans.json` lists, within limits that the system keeps.

    N.npy holds float32 `[X, Y, Z]`, N.json `affine` and `about`, or the `error` of a scan that cannot be used.
    """
    import numpy as np  # noqa: PLC0415 - all of these need more open files than there may be afterwards
    import SimpleITK  # noqa: F401, PLC0415

    from uncertaintyseg.data.dicom import read_headers  # noqa: PLC0415
    from uncertaintyseg.data.images import frames_in, is_picture, read_frames, read_picture  # noqa: PLC0415
    from uncertaintyseg.data.scan_files import scan_files  # noqa: PLC0415
    from uncertaintyseg.data.ultrasound import read_flat  # noqa: PLC0415
    from uncertaintyseg.errors import InputError  # noqa: PLC0415

    limits = {"AS": memory, "CPU": seconds, "FSIZE": file_bytes, "NOFILE": 32, "CORE": 0}
    for name, value in limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (value, value))
    for number, scan in enumerate(json.loads((Path(folder) / "scans.json").read_text(encoding="utf-8"))):
        path = Path(scan)
        try:
            if frames := frames_in(path):
                array, affine, about = read_frames(frames)
            elif is_picture(path):
                array, affine, about = read_picture(path)
            else:
                array, affine, about = read_flat(read_headers(scan_files(path)))
            if max(array.shape) > np.iinfo(np.int16).max:
                told = {"error": f"{path}: {max(array.shape)} pixels along an axis, more than NIfTI holds: crop it"}
            else:
                np.save(Path(folder) / f"{number}.npy", np.asarray(array, np.float32), allow_pickle=False)
                told = {"affine": affine.tolist(), "about": about}
        except InputError as error:
            told = {"error": str(error) if str(path) in str(error) else f"{path}: {error}"}
        written = Path(folder) / f"{number}.part"
        written.write_text(json.dumps(told), encoding="utf-8")
        written.rename(written.with_suffix(".json"))  # there as a whole, or not at all, should the disk be full


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
