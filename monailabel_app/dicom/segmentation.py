"""A label volume as DICOM Segmentation."""

from __future__ import annotations

from collections.abc import Sequence

import highdicom as hd
import numpy as np
from numpy.typing import ArrayLike
from skimage.color import rgb2lab

from monailabel_app.dicom.coding import RESEARCH_ONLY, Source, structure_code, text, with_text_of
from monailabel_app.dicom.series import Series
from uncertaintyseg import wire
from uncertaintyseg.errors import InputError

_SERIES_NUMBER = 900
_ANATOMY = hd.sr.CodedConcept("123037004", "SCT", "Anatomical Structure")
_LAB_RANGE = ((0, -128, -128), (100, 127, 127))


def segmentation(
    label: ArrayLike, affine: ArrayLike, labels: Sequence[wire.Label], series: Series, source: Source
) -> hd.seg.Segmentation:
    """Encode a label as binary DICOM SEG on the slices of its series.

    Segments are numbered from 1 in the order of `labels`, also those that this label leaves empty.

    Args:
        label: `[X, Y, Z]` class ids; 0 is the background.
        affine: 4x4, its voxels to RAS+ mm; axes may run otherwise than the series'.
        labels: The structures that the ids stand for.
        series: The scan.
        source: Who made the label.

    Raises:
        InputError: The label's voxels are not those of the series, or it holds an id that is not in `labels`.
    """
    frames = series.frames(label, affine, "the label")
    unknown = set(np.unique(frames).tolist()) - {0} - {item.id for item in labels}
    if unknown:
        raise InputError(f"the label holds class ids {sorted(unknown)}, which no structure of the model has")
    number = np.zeros(max(item.id for item in labels) + 1, dtype=np.uint16)
    number[[item.id for item in labels]] = np.arange(1, len(labels) + 1)
    instance = hd.seg.Segmentation(
        source_images=series.headers,
        pixel_array=number[frames],
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(n, item, source) for n, item in enumerate(labels, 1)],
        content_label="SEGMENTATION",
        content_description=RESEARCH_ONLY,
        series_number=_SERIES_NUMBER,
        series_description=text(f"Segmentation {source.model or 'by hand'}{' corrected' if source.edited else ''}"),
        **source.equipment(),
    )
    return with_text_of(instance, series.headers[0])


def _describe(number: int, label: wire.Label, source: Source) -> hd.seg.SegmentDescription:
    made = hd.seg.SegmentAlgorithmTypeValues
    by = made.MANUAL if source.model is None else made.SEMIAUTOMATIC if source.edited else made.AUTOMATIC
    description = hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=text(label.name),
        segmented_property_category=_ANATOMY,
        segmented_property_type=structure_code(label),
        algorithm_type=by,
        algorithm_identification=source.algorithm(),
    )
    lab = rgb2lab(np.array(label.rgb) / 255)
    description.RecommendedDisplayCIELabValue = list(hd.color.CIELabColor(*np.clip(lab, *_LAB_RANGE)).value)
    return description
