"""Whether a scan looks like what a model was trained on: a CT in Hounsfield units has air near -1000 and fat near -100.

A hint for people, from the DICOM header where there is one, else from the voxels; it never refuses a scan.
"""

from __future__ import annotations

import os
from pathlib import Path

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.scan_files import is_dicom, scan_files

_KNOWN = ("CT", "MR")
_FAT, _LUNG = -50.0, -300.0  # HU: what fat and air are below; what lung and air are below
_SHARE = 0.01  # of the voxels; less is ringing, or the edge of a field of view
_ENOUGH = 1_000_000  # voxels


def modality_doubt(path: str | os.PathLike[str], expected: str | None) -> str | None:
    """Say why a scan may not be of the modality that a model was trained on.

    Args:
        path: NIfTI, NRRD, MetaImage, or a folder with one DICOM series.
        expected: "CT" or "MR", what the model was trained on; None where nobody knows, and then the scan is not read.

    Returns:
        One sentence that begins where a scan's name can stand before it, or None.

    Raises:
        InputError: The scan cannot be read.
    """
    if expected is None:
        return None
    stated = _stated(Path(path))
    if stated in _KNOWN:
        if stated == expected:
            return None
        return f"is {stated} by its DICOM header, and the model was trained on {expected}: its result may mean nothing."
    voxels = read_scan(path).flatten()
    voxels = voxels[:: max(1, voxels.numel() // _ENOUGH)]
    fat, lung = (float((voxels < limit).float().mean()) for limit in (_FAT, _LUNG))
    if expected == "CT" and fat < _SHARE:
        return (
            f"does not look like the CT the model was trained on: {fat:.1%} of its voxels are below {_FAT:g}, where "
            "Hounsfield units have fat and air. Is it MR, or a CT that lost its rescale intercept? The result may mean "
            "nothing."
        )
    if expected == "MR" and lung >= _SHARE:
        return (
            f"looks like a CT, and the model was trained on MR: {lung:.1%} of its voxels are below {_LUNG:g}, where "
            "Hounsfield units have lung and air. The result may mean nothing."
        )
    return None


def _stated(path: Path) -> str | None:
    """Modality in the DICOM header; None for other files."""
    if not (path.is_dir() or is_dicom(path)):
        return None
    from uncertaintyseg.data.dicom import read_headers  # noqa: PLC0415 - pydicom takes a while

    headers = (header for file in scan_files(path) for header in read_headers([file]))
    return next((str(header.get("Modality")) for header in headers), None)
