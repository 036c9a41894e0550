"""An image and a clip as a server would send them: a disc that grows from frame to frame, with a map of its border."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from Testing.Python.SlicerUncertaintySeg.conftest import CaseFiles, write_scaled_map
from UncertaintySegLib.server.replies import Label
from UncertaintySegLib.server.results import FrameCurves, MapInfo, Region, Structure

SPACING = 0.5
"""mm from pixel to pixel."""
PIXEL_MM2 = SPACING**2
RISK = MapInfo(url="/risk", unit="1", range=(0.0, 1.0), source="total")
_CENTRE = (20, 14)


def affine(spacing: float = SPACING) -> np.ndarray:
    """Where readers put pictures: x to the left, y to the back."""
    return np.diag([-spacing, -spacing, 1.0, 1.0])


def discs(frames: int) -> np.ndarray:
    """bool `[40, 32, frames]`: radii of 4, 5, 6, ... pixels."""
    x, y = np.indices((40, 32))
    distance = np.hypot(x - _CENTRE[0], y - _CENTRE[1])
    return np.stack([distance <= 4 + frame for frame in range(frames)], axis=2)


def border(frames: int) -> np.ndarray:
    """Error probability `[40, 32, frames]`: 0.5 in the outer pixel of the discs, so most in the last frame."""
    inner = np.stack([np.zeros((40, 32), bool), *np.moveaxis(discs(frames), 2, 0)[:-1]], axis=2)
    inner[..., 0] = np.hypot(*(np.indices((40, 32)).T - np.array(_CENTRE)).T) <= 3
    return np.where(discs(frames) & ~inner, 0.5, 0.0)


def write_case(folder: Path, frames: int, spacing: float = SPACING) -> CaseFiles:
    """Write scan, label and map of an image, or of a clip of more than one frame."""
    folder.mkdir(parents=True, exist_ok=True)
    inside, risk, where = discs(frames), border(frames), affine(spacing)
    scan = np.where(inside, 180, 60) + 10 * np.arange(frames)
    nib.Nifti1Image(scan.astype(np.uint8), where).to_filename(folder / "scan.nii.gz")
    nib.Nifti1Image(inside.astype(np.uint8), where).to_filename(folder / "label.nii.gz")
    write_scaled_map(folder / "risk.nii.gz", risk, where, 1.0)
    names = [folder / f"{name}.nii.gz" for name in ("scan", "label", "risk")]
    return CaseFiles("sweep" if frames > 1 else "image", *names, (Label(1, "head", (90, 200, 110)),), RISK)


def told(frames: int, unit: str = "mm2") -> dict:
    """What the server says of it: fields of an `InferResult`."""
    pixel = PIXEL_MM2 if unit == "mm2" else 1.0
    areas = discs(frames).sum((0, 1)) * pixel
    wrong = border(frames).sum((0, 1)) * pixel
    last = int(wrong.argmax())
    box = ((_CENTRE[0] - 4 - last, _CENTRE[1] - 4 - last, last), (_CENTRE[0] + 4 + last, _CENTRE[1] + 4 + last, last))
    ijk = (_CENTRE[0] + 4 + last, _CENTRE[1], last)
    region = Region(
        rank=1, structure="head", ras_mm=tuple((affine() @ [*ijk, 1])[:3].tolist()), ijk=ijk, bounding_box=box,
        volume_ml=float(areas[last]), expected_error_ml=float(wrong[last]), frame=last if frames > 1 else None,
    )  # fmt: skip
    head = Structure("head", 1, float(areas.mean()), (90.0, 110.0), expected_error_ml=float(wrong.mean()))
    curves = FrameCurves(
        {"head": tuple(areas.tolist())}, tuple(wrong.tolist()),
        {"error_probability": tuple(border(frames).mean((0, 1)).tolist())},
    )  # fmt: skip
    return {
        "structures": (head,), "regions": (region,), "remaining_error_ml": float(wrong.mean()), "size_unit": unit,
        "axis": "time" if frames > 1 else "", "frames": curves if frames > 1 else None,
    }  # fmt: skip
