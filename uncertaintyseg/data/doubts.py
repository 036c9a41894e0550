"""Whether a scan looks like what a model was trained on: its modality, its Hounsfield units, the size of its voxels.

A CT in Hounsfield units has air near -1000, fat near -100 and soft tissue near 50. Hints for people, from the DICOM
header where there is one, else from the voxels; they never refuse a scan.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from monai.data import MetaTensor

from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.scan_files import is_dicom, scan_files

_KNOWN = ("CT", "MR", "US")
_FAT, _LUNG = -50.0, -300.0  # HU: what fat and air are below; what lung and air are below
_SHARE = 0.01  # of the voxels; less is ringing, or the edge of a field of view
_SHIFT = 1024  # added to Hounsfield units by what stores them without a sign
_TISSUE = (-100.0, 200.0)  # HU of soft tissue
_SHIFTED_SHARE = 0.1  # of the voxels; no part of a body is that much dense bone
_ENOUGH = 1_000_000  # voxels
_SMALLEST, _LARGEST = 0.05, 25.0  # mm: voxels of scanners for people are larger, and smaller


def scan_doubts(scan: MetaTensor, expected: str | None) -> list[str]:
    """Say why a scan may not be what a model was trained on, before it runs.

    Args:
        scan: as it was read, `[channels, X, Y, Z]`; the first channel counts.
        expected: "CT", "MR" or "US", what the model was trained on; None where nobody knows.

    Returns:
        Sentences that begin where a scan's name can stand before them.
    """
    return [*_size_doubts(spacing_mm(scan.affine.numpy())), *(_modality_doubts(scan, expected) if expected else ())]


def _size_doubts(spacing: tuple[float, ...]) -> Iterator[str]:
    said = " x ".join(f"{size:.3g}" for size in spacing)
    for is_odd, what in ((min(spacing) < _SMALLEST, "smaller"), (max(spacing) > _LARGEST, "larger")):
        if is_odd:
            yield (
                f"has voxels of {said} mm, {what} than those of scanners for people: is another unit meant in its "
                "header, such as metres or microns? Volumes in mL and whatever the model finds depend on it."
            )


def _modality_doubts(scan: MetaTensor, expected: str) -> Iterator[str]:
    stated = _stated(Path(scan.meta["filename_or_obj"]))
    if stated in _KNOWN and stated != expected:
        yield f"is {stated} by its DICOM header, and the model was trained on {expected}: its result may mean nothing."
        return
    voxels = scan[0].as_tensor().flatten()
    voxels = voxels[:: max(1, voxels.numel() // _ENOUGH)]
    fat, lung = (float((voxels < limit).float().mean()) for limit in (_FAT, _LUNG))
    low, high = (limit + _SHIFT for limit in _TISSUE)
    shifted = _share(voxels, low, high)
    if expected == "CT" and shifted > _SHIFTED_SHARE:
        yield (
            f"looks like a CT to which {_SHIFT} was added: {shifted:.0%} of its voxels are between {low:g} and "
            f"{high:g}, where Hounsfield units have dense bone alone. Did it lose its rescale intercept? "
            f"Subtract {_SHIFT}, or convert it from DICOM again; its result may mean nothing."
        )
    elif expected == "CT" and fat < _SHARE:
        yield (
            f"does not look like the CT the model was trained on: {fat:.1%} of its voxels are below {_FAT:g}, where "
            "Hounsfield units have fat and air. Is it MR, or a CT that lost its rescale intercept? The result may mean "
            "nothing."
        )
    elif expected == "CT" and _share(voxels, *_TISSUE) < _SHARE:
        yield (
            f"does not look like the CT the model was trained on: {_share(voxels, *_TISSUE):.1%} of its voxels are "
            f"between {_TISSUE[0]:g} and {_TISSUE[1]:g}, where Hounsfield units have soft tissue. Was an intercept "
            "subtracted twice? The result may mean nothing."
        )
    elif expected == "MR" and stated is None and lung >= _SHARE:
        yield (
            f"looks like a CT, and the model was trained on MR: {lung:.1%} of its voxels are below {_LUNG:g}, where "
            "Hounsfield units have lung and air. The result may mean nothing."
        )


def _share(voxels: torch.Tensor, low: float, high: float) -> float:
    return float(((voxels >= low) & (voxels <= high)).float().mean())


def _stated(path: Path) -> str | None:
    """Modality in the DICOM header; None for other files."""
    if not (path.is_dir() or is_dicom(path)):
        return None
    from uncertaintyseg.data.dicom import read_headers  # noqa: PLC0415 - pydicom takes a while

    headers = (header for file in scan_files(path) for header in read_headers([file]))
    return next((str(header.get("Modality")) for header in headers), None)
