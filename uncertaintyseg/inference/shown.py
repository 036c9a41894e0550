"""Whose slices a model was shown in place of training, held against the patient that it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from uncertaintyseg.data.splitting import subject_of
from uncertaintyseg.inference.content import voxel_hash


def same_patient(origin: Mapping[str, Any], case_id: str | None, voxels: np.ndarray) -> set[str]:
    """The cases whose slices a model was shown that are of a scan's patient, by its id or its voxels.

    Args:
        origin: of the model.
        case_id: of the scan; None where it has none.
        voxels: of the scan, as of `read_channels`.
    """
    subject, content = case_id and subject_of(case_id), voxel_hash(voxels)
    known = zip(origin.get("examples", ()), origin.get("contents", ()), strict=True)
    return {case for case, scan in known if subject_of(case) == subject or scan == content}
