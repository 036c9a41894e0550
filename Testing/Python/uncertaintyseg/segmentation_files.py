"""Segmentations as 3D Slicer saves them; `slicer_host/test_segmentation_files.py` compares with Slicer's own."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from uncertaintyseg.data.segments import Segment


def write_segmentation(path: Path, array: np.ndarray, affine: np.ndarray, segments: Sequence[Segment]) -> None:
    """Write `.seg.nrrd`.

    Args:
        path: of the file.
        array: `[X, Y, Z]`, or layers `[L, X, Y, Z]`.
        affine: 4x4, voxel to RAS+ mm.
        segments: what it holds.
    """
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    has_layers = array.ndim == 4
    vectors = ["({!r},{!r},{!r})".format(*map(float, column)) for column in lps.T[:, :3]]
    lines = [
        "NRRD0004",
        "# Complete NRRD file format specification at:",
        "# http://teem.sourceforge.net/nrrd/format.html",
        "type: unsigned char",
        f"dimension: {array.ndim}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(map(str, array.shape))}",
        f"space directions: {'none ' * has_layers}{' '.join(vectors[:3])}",
        f"kinds: {'list ' * has_layers}domain domain domain",
        "encoding: gzip",
        f"space origin: {vectors[3]}",
    ]
    for number, segment in enumerate(segments):
        lines += [
            f"Segment{number}_ID:=Segment_{number + 1}",
            f"Segment{number}_LabelValue:={segment.value}",
            f"Segment{number}_Layer:={segment.layer}",
            f"Segment{number}_Name:={segment.name}",
            f"Segment{number}_Tags:=TerminologyEntry:Segmentation category~SCT^85756007^Tissue~^^~^^|",
        ]
    lines += ["Segmentation_ContainedRepresentationNames:=Binary labelmap|", "", ""]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode() + gzip.compress(array.astype(np.uint8).tobytes(order="F")))
