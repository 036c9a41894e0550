"""A scan as the one file that a client gets: those of several files are converted to NIfTI."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from fastapi.responses import FileResponse
from starlette.background import BackgroundTask

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.scan_files import scan_files
from uncertaintyseg.data.writing import write_volume


def send_scan(path: Path, image: str) -> FileResponse:
    """Answer with a scan, all of it, under its own name or as `<image>.nii.gz`. Raises `InputError` as `read_scan`."""
    if scan_files(path) == [path]:
        return FileResponse(path, filename=path.name)
    scan, folder = read_scan(path), tempfile.mkdtemp()
    file = Path(folder) / f"{image}.nii.gz"
    write_volume(file, scan[0].numpy(), scan.affine.numpy())
    return FileResponse(file, filename=file.name, background=BackgroundTask(shutil.rmtree, folder, ignore_errors=True))
