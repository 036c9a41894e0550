"""What a prediction says about itself: how to read its maps, and everything needed to make it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from uncertaintyseg import NUMBERS, __version__
from uncertaintyseg.data.channels import Image, channel_files
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.time_axis import Measure
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import Head
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.crf import CRF
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.thresholding import Threshold
from uncertaintyseg.logits.quadrature import default_nodes
from uncertaintyseg.measures import map_info
from uncertaintyseg.review.calibration import MEASURE
from uncertaintyseg.wire import Example, Label, MapInfo, Provenance, Source

if TYPE_CHECKING:
    from monai.data import MetaTensor

MOST_VARIANCES = 16
"""Classes up to which each structure's own variance is carried unasked."""
DRIVEN = "Read from the map '{}', as its values came true on the calibration cases."
_LEAST = 1e-12
"""Top of the range of a map that was multiplied by 0."""
_SPREAD = ("variance", "mutual_information")


def named(labels: Sequence[Label], structures: Sequence[str] | None) -> list[Label]:
    """The structures that were asked for; None: all.

    Raises:
        InputError: for a name that the model does not have, or none at all.
    """
    if structures is None:
        return list(labels)
    unknown = [name for name in structures if name not in {item.name for item in labels}]
    if unknown:
        names = [item.name for item in labels]
        close = get_close_matches(unknown[0], names, n=5)
        known = f"did you mean {', '.join(close)}?" if close else f"it has {', '.join(names)}."
        raise InputError(f"this model has no structure '{unknown[0]}': {known}")
    if not structures:
        raise InputError(f"no structure at all was asked for; this model has {', '.join(i.name for i in labels)}.")
    return [item for item in labels if item.name in structures]


def boxed(region: Sequence[Sequence[int]] | None, shape: Sequence[int]) -> tuple[slice, ...] | None:
    """A region of interest, first voxel and one after the last of each axis, as slices.

    Raises:
        InputError: where it is no box of the scan.
    """
    if region is None:
        return None
    if len(region) != len(shape) or not all(
        len(part) == 2 and 0 <= part[0] < part[1] <= size for part, size in zip(region, shape, strict=True)
    ):
        raise InputError(
            f"the region {[list(part) for part in region]} is no box of a scan of {' x '.join(map(str, shape))} "
            "voxels: give the first voxel and one after the last of each axis."
        )
    return tuple(slice(int(first), int(last)) for first, last in region)


def map_infos(
    names: Iterable[str],
    bundle: Bundle,
    head: Head,
    *,
    method: str | None,
    open_error: bool,
    alone: bool,
    without_variances: bool,
    notes: Mapping[str, str],
    driven_by: str = MEASURE,
    scales: Mapping[str, float] = MappingProxyType({}),
) -> dict[str, MapInfo]:
    """Unit, range and source of each map.

    Args:
        names: of the maps.
        bundle: the model.
        head: of its network.
        method: passes it was run with.
        open_error: whether the error probability may exceed that of a guess: the label need not be the likeliest class,
            or was wrong more often.
        alone: whether only one answer was heard, so that nothing could disagree.
        without_variances: whether the structures' own variances were left out for want of room.
        notes: further ones, by name of the map.
        driven_by: the map that the error probability was read from.
        scales: what maps were multiplied by (`case_scale`): their ranges are as many times smaller, and so is what
            storing them in steps costs.
    """
    source: Source = head.source
    if method:
        source = "total" if head.stochastic else PASSES[method].source
    classes = len(bundle.labels) + 1
    own = PASSES[method].extra_maps(classes) if method else head.extra_maps()
    own = {name: info.model_copy(update={"source": source}) if method else info for name, info in own.items()}
    found = {name: own.get(name) or map_info(name, classes, source) for name in names}
    for name, scale in scales.items():
        low, high = found[name].range
        found[name] = found[name].model_copy(update={"range": (low, max(high * scale, _LEAST))})
    notes = dict(notes)
    if without_variances:
        notes["variance"] = (
            f"Of all classes together; variance_<structure> is carried up to {MOST_VARIANCES} classes, or for "
            "structures that are named in the request."
        )
    if alone:
        notes |= dict.fromkeys(_SPREAD, "0 everywhere: this model gives one answer, which nothing can disagree with.")
    if driven_by != MEASURE:
        notes[MEASURE] = DRIVEN.format(driven_by) + (f" {notes[MEASURE]}" if MEASURE in notes else "")
    for name, note in notes.items():
        found[name] = found[name].model_copy(update={"description": note})
    if open_error:
        found["error_probability"] = found["error_probability"].model_copy(update={"range": (0.0, 1.0)})
    return found


def asked_for(
    method: str | None, options: Mapping[str, Any], threshold: Threshold | None, crf: CRF | None, **more: Any
) -> dict[str, Any]:
    """What was asked for beyond the model itself."""
    asked = {"method": method, **options, "threshold": threshold and str(threshold), **more}
    return {k: v for k, v in asked.items() if v is not None} | ({"crf": asdict(crf)} if crf else {})


def provenance(bundle: Bundle, head: Head, seconds: Mapping[str, float], **about: Any) -> Provenance:
    """Everything needed to make a prediction again.

    Args:
        bundle: the model.
        head: of its network.
        seconds: wall time of each stage.
        about: params, samples, seed, window, overlap, device, calibration and warnings.
    """
    classes = len(bundle.labels) + 1
    return Provenance(
        model=bundle.name,
        head=bundle.head,
        weights_checksum=bundle.checksum,
        nodes=default_nodes(classes) if classes > 2 and head.stochastic else None,
        dtype="float32",
        code_version=__version__,
        numbers=NUMBERS,
        values=bundle.uncertainty.values or {},
        ignore=bundle.uncertainty.ignore,
        examples=_examples(bundle),
        left_out=(bundle.uncertainty.origin or {}).get("left_out", []),
        seconds={stage: round(value, 4) for stage, value in seconds.items()},
        **about,
    )


def _examples(bundle: Bundle) -> list[Example]:
    """The slices that a model was shown in place of training."""
    origin = bundle.uncertainty.origin or {}
    drawn = origin.get("drawn", {})
    return [
        Example(case=case, axis=axis, index=index, plane=origin.get("plane"), label=drawn.get(case))
        for (case, _), (axis, index) in zip(origin.get("slices", ()), origin.get("voxels", ()), strict=False)
    ]


def files_of(image: Image, names: Sequence[str]) -> dict[str, str]:
    """Name of the file of each channel, where there are several; where one file holds all, of that."""
    if len(names) == 1:
        return {}
    files = channel_files(image, len(names))
    return {name: files[number % len(files)].name for number, name in enumerate(names)}


def sized(scan: MetaTensor) -> str:
    """A scan's name with its size, for people; images and clips are counted, for mm may be unknown."""
    by, unit = (spacing_mm(scan.affine), "mm") if Measure.of(scan).unit == "mL" else ((1, 1, 1), "voxels")
    return f"{scan.meta['filename_or_obj']}: {' x '.join(map('{:.0f}'.format, np.multiply(scan.shape[1:], by)))} {unit}"
