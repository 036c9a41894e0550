"""A risk map as DICOM Parametric Map."""

from __future__ import annotations

import highdicom as hd
import numpy as np
from numpy.typing import ArrayLike
from pydicom.sr.codedict import codes

from monailabel_app.dicom.coding import Source, own_code, text, with_text_of
from monailabel_app.dicom.series import Series
from uncertaintyseg import wire
from uncertaintyseg.data.writing import map_steps

_SERIES_NUMBER = 901
_UNITS = {"nats": hd.sr.CodedConcept("{nat}", "UCUM", "nats"), "1": codes.UCUM.NoUnits}


def parametric_map(
    values: ArrayLike, affine: ArrayLike, name: str, info: wire.MapInfo, series: Series, source: Source
) -> hd.pm.ParametricMap:
    """Encode a map on the slices of its series: uint16 with a Real World Value Mapping, as accurate as our NIfTI.

    Args:
        values: `[X, Y, Z]` in the unit and range of `info`.
        affine: 4x4, its voxels to RAS+ mm; axes may run otherwise than the series'.
        name: Name of the map; it stands in the series description and as the quantity, coded in scheme 99USEG.
        info: Unit and range.
        series: The scan.
        source: The model.

    Raises:
        InputError: The map's voxels are not those of the series, or a value is NaN or out of range.
    """
    steps, slope, intercept = map_steps(values, info.range)
    top = int(np.iinfo(np.uint16).max)
    mapping = hd.pm.RealWorldValueMapping(
        lut_label=text(name)[:16],
        lut_explanation=text(name),
        unit=_UNITS[info.unit],
        value_range=(0, top),
        slope=slope,
        intercept=intercept,
        quantity_definition=own_code(name),
    )
    instance = hd.pm.ParametricMap(
        source_images=series.headers,
        pixel_array=series.frames(steps, affine, f"map {name}"),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        window_center=(top + 1) / 2,
        window_width=top + 1,
        series_number=_SERIES_NUMBER,
        series_description=text(f"{name} {source.model}"),
        **source.equipment(),
    )
    return with_text_of(instance, series.headers[0])
