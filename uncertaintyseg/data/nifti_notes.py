"""What NIfTI has no field for: that a third axis is time, and that nobody knows the spacing.

It stands in the header's `descrip`, as words: `axis=time`, `spacing=unknown`. (A fourth axis of time would be taken for
channels, and most files without a unit are in mm nevertheless.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from uncertaintyseg.data.time_axis import AXIS, SPACING_KNOWN, TIME, is_clip, spacing_known

if TYPE_CHECKING:
    import nibabel as nib

CLIP, PIXELS = "axis=time", "spacing=unknown"


def notes_in(header: nib.Nifti1Header | nib.Nifti2Header) -> dict[str, object]:
    """What a header notes, as entries of a scan's `meta`."""
    words = header["descrip"].item().decode("latin-1").split()
    return {**({AXIS: TIME} if CLIP in words else {}), **({SPACING_KNOWN: False} if PIXELS in words else {})}


def note(header: nib.Nifti1Header | nib.Nifti2Header, about: Mapping[str, Any]) -> None:
    """Write into a header what the `meta` of a scan says."""
    words = [word for word, holds in ((CLIP, is_clip(about)), (PIXELS, not spacing_known(about))) if holds]
    header["descrip"] = " ".join(words).encode()
