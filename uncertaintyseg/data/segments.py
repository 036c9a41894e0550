"""What a label file says its voxels are: names count, not numbers.

3D Slicer writes segments with names, numbers and layers into `.seg.nrrd`, TotalSegmentator a table of names into NIfTI,
and clients of MONAI Label send one along. Where there are no names, numbers are class ids.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import torch
from monai.data import MetaTensor
from nibabel.filebasedimages import ImageFileError
from nibabel.openers import ImageOpener
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from uncertaintyseg.data.anatomy import match_names
from uncertaintyseg.data.geometry import LatticeMap, copy_lattice, lattice_map, spacing_mm
from uncertaintyseg.data.nrrd import read_nrrd, read_pairs
from uncertaintyseg.data.scan import read_label
from uncertaintyseg.errors import InputError

_PAIR = re.compile(r"Segment(0|[1-9]\d{0,4})_(ID|Name|LabelValue|Layer)", re.ASCII)
_PAIR_LINE = re.compile(rb"^Segment\d+_(ID|Name|LabelValue):=", re.MULTILINE)
_TABLE_ROW = re.compile(r'<Label Key="(\d{1,5})"[^<>]{0,500}><!\[CDATA\[([^\]]{0,500})\]\]></Label>', re.ASCII)
_NUMBER = re.compile(r"0|[1-9]\d{0,4}", re.ASCII)
_PEEK_BYTES = 2**20  # the longest header that is read
_MAX_NUMBER = np.iinfo(np.uint16).max - 1
_MOST_SEGMENTS = 2000  # a table of everything that FreeSurfer knows has some 1800
_SAME_GRID_TOLERANCE = 0.05  # voxels
_SLAB_VOXELS = 2**21
_NO_VERDICT = (
    " Without a segment 'ignore' its voxels are background: where nobody has looked is told by 'verified' instead, the "
    "boxes that were looked at (docs/review.md)."
)


class Segment(NamedTuple):
    """A structure in a label: the voxels of one number, in one layer of an array `[L, X, Y, Z]`."""

    name: str
    value: int
    layer: int = 0


def segments_in(path: Path) -> list[Segment]:
    """The segments that a label file names, in its order; none where it has no names.

    Raises:
        InputError: It has segments, but too many, or does not say which voxels they are.
    """
    name = path.name.lower()
    if not (path.is_file() and os.access(path, os.R_OK)):  # reading its voxels will say so; a named pipe would wait
        return []
    if name.endswith((".nii", ".nii.gz")):
        return _in_table(path)
    if name.endswith(".nrrd") and _has_segments(path):
        pairs = read_pairs(path)
        try:
            return segments_of(pairs)
        except InputError as error:
            raise _naming(path, error) from None
    return []


def segments_of(pairs: Mapping[str, str]) -> list[Segment]:
    """The segments of a `.seg.nrrd` file by its `key:=value` pairs, as Slicer reads them.

    Without a number it is 1, without a layer that of its place in the list, without a name the ID (older versions).

    Raises:
        InputError: A segment has no name or no number, two are the same voxels, or they are too many.
    """
    said: dict[int, dict[str, str]] = {}
    for key, value in pairs.items():
        if match := _PAIR.fullmatch(key):
            said.setdefault(int(match[1]), {})[match[2]] = value
    _check_count(len(said))
    found = []
    for place, (number, words) in enumerate(sorted(said.items())):
        name = (words.get("Name") or words.get("ID") or "").strip()
        value, layer = words.get("LabelValue", "1"), words.get("Layer", str(place))
        if not (name and _is_number(value) and int(value) > 0 and _is_number(layer)):
            raise InputError(f"segment {number} has no name, label value or layer. Save it from Slicer again.")
        found.append(Segment(name, int(value), int(layer)))
    return _distinct(found)


def segments_in_table(text: str) -> list[Segment]:
    """The segments of a Caret label table (XML), as TotalSegmentator writes it into NIfTI; none where there is none.

    Raises:
        InputError: They are too many.
    """
    rows = [(name, int(key)) for key, name in _TABLE_ROW.findall(text)]
    found = [Segment(name, number) for name, number in rows if 0 < number <= _MAX_NUMBER]
    _check_count(len(found))
    return found


def segments_from_client(label_info: Any) -> list[Segment]:
    """The segments that a client of MONAI Label sends beside a label, in `label_info`; none where it sends none.

    Args:
        label_info: `[{"name": ..., "idx": ...}, ...]` of its Slicer plugin, with `segmentIndex` of its OHIF plugin.

    Raises:
        InputError: It is something else, too many, or does not tell which number is which.
    """
    if not label_info:
        return []
    rows = label_info if isinstance(label_info, list) else [None]
    _check_count(len(rows))
    found = []
    for row in rows:
        name, number = (row.get("name"), row.get("idx", row.get("segmentIndex"))) if isinstance(row, dict) else (0, 0)
        is_number = isinstance(number, int) and not isinstance(number, bool) and 0 < number <= _MAX_NUMBER
        if not (isinstance(name, str) and name.strip() and is_number):
            raise InputError(f'label_info: {str(row)[:80]}: give [{{"name": "organ", "idx": 1}}, ...], or leave it out')
        found.append(Segment(name.strip(), number))
    return _distinct(found)


def check_counting(told: Sequence[Segment], numbers: np.ndarray) -> None:
    """Refuse a label whose numbers may be the places in what a client sent beside it, and not the numbers there.

    MONAI Label's Slicer plugin leaves out segments such as `background`: what it sends counts them, its file does not.

    Args:
        told: of `segments_from_client`.
        numbers: of the file.

    Raises:
        InputError: Both may be meant, and they differ.
    """
    stated = {segment.value: segment.name for segment in told}
    counted = {place: segment.name for place, segment in enumerate(told, 1)}
    if stated.keys() == counted.keys():
        return
    present = set(np.unique(numbers).tolist()) - {0}
    if present <= counted.keys() and any(stated.get(number) != counted[number] for number in present):
        theirs, ours = (", ".join(map(str, sorted(numbers))) for numbers in (present, stated))
        raise InputError(
            f"label_info has the numbers {ours}, the file {theirs}, so which is which cannot be told. In Slicer, "
            "remove the segment 'background' or move it to the end; others list all structures from 1 on, or none."
        )


def class_ids(segments: Iterable[Segment], ids: Mapping[str, int]) -> dict[Segment, int]:
    """The class of each segment by its name (`anatomy.match_names`); one that is left out is none of the model's.

    Args:
        segments: of a label.
        ids: name to class id.
    """
    segments, ids = list(segments), {"background": 0, **ids}
    matched = match_names([segment.name for segment in segments], ids)
    return {segment: ids[matched[segment.name]] for segment in segments if segment.name in matched}


def merge(
    layers: np.ndarray, segments: Sequence[Segment], classes: Mapping[Segment, int], *, others: bool = False
) -> np.ndarray:
    """Merge layers into one volume of class ids; where segments overlap, the later one wins, as in Slicer.

    Args:
        layers: whole numbers `[L, X, Y, Z]`.
        segments: what they are, in order.
        classes: class id of those that count.
        others: what does not count becomes background, else it must have no voxel.

    Returns:
        int32 `[X, Y, Z]`.

    Raises:
        InputError: The voxels are no whole numbers, a layer is missing, or something does not count that must.
    """
    if layers.dtype.kind == "f" and not (np.isfinite(layers).all() and (layers == np.rint(layers)).all()):
        raise InputError("a label holds whole numbers; is this a scan, or a fractional segmentation?")
    if not 0 <= layers.min() <= layers.max() <= _MAX_NUMBER:
        raise InputError(f"a label holds numbers from 0 to {_MAX_NUMBER}; is this a scan?")
    for segment in segments:
        if segment.layer >= len(layers) or segment.value > _MAX_NUMBER:
            raise InputError(f"segment '{segment.name}' is in no layer, or has no number, that the file can have.")
    rank_of = np.zeros((len(layers), _MAX_NUMBER + 2), np.uint16)
    for rank, segment in enumerate(segments, 1):
        rank_of[segment.layer, segment.value] = rank if segment in classes else 0
    class_of = np.array([0, *(classes.get(segment, 0) for segment in segments)], np.int32)
    seen = np.zeros(rank_of.shape, bool)
    merged = np.empty(layers.shape[1:], np.int32)
    for planes in _slabs(merged.shape):  # numbers as indices take eight bytes each
        rank = np.zeros(merged[planes].shape, np.uint16)
        for number, layer in enumerate(layers):
            values = layer[planes].astype(np.intp)
            seen[number, values] = True
            np.maximum(rank, rank_of[number, values], out=rank)
        merged[planes] = class_of[rank]
    if not others:
        _check_all_count(seen, segments, classes)
    return merged


def place(
    values: np.ndarray, affine: np.ndarray, grid_affine: np.ndarray, grid_shape: Sequence[int], scan: str = ""
) -> np.ndarray:
    """Put a segmentation onto the grid of its scan: Slicer may crop it to what is drawn, and may turn its axes.

    Args:
        values: `[X, Y, Z]`.
        affine: 4x4, its voxels to RAS+ mm.
        grid_affine: the same of the scan.
        grid_shape: of the scan.
        scan: its name, for messages.

    Returns:
        `[X', Y', Z']` of the scan.

    Raises:
        InputError: Their voxels do not coincide, or something is drawn outside of the scan.
    """
    lattice = place_on(affine, grid_affine, grid_shape, scan)
    placed = copy_lattice(torch.from_numpy(values)[None], lattice, grid_shape)[0].numpy()
    if outside := int(np.count_nonzero(values) - np.count_nonzero(placed)):
        raise InputError(
            f"{outside} of its labelled voxels lie outside of the scan {scan}: is it the label of another?"
        )
    return placed


def place_on(affine: np.ndarray, grid_affine: np.ndarray, grid_shape: Sequence[int], scan: str = "") -> LatticeMap:
    """Where `place` puts the voxels, known before they are read. Args and errors are those of `place`."""
    lattice = lattice_map(affine, grid_affine, grid_shape, tolerance=_SAME_GRID_TOLERANCE)
    if lattice is None:
        ours, theirs = (
            f"spacing {' x '.join(f'{v:g}' for v in spacing_mm(grid))} mm, "
            f"origin {' x '.join(f'{v:g}' for v in grid[:3, 3])}"
            for grid in (affine, grid_affine)
        )
        raise InputError(
            f"its grid ({ours}) is not that of the scan {scan} ({theirs}). In Slicer, choose the scan as the "
            "segmentation's reference geometry and save it again."
        )
    return lattice


def read_segments(
    path: Path,
    segments: Sequence[Segment],
    classes: Mapping[Segment, int],
    *,
    like: MetaTensor | None = None,
    others: bool = False,
) -> MetaTensor:
    """Read a label by its segments, optionally onto the grid of its scan.

    Args:
        path: of the file.
        segments: of `segments_in`.
        classes: class id of those that count.
        like: the scan; of a `.seg.nrrd` a part of its grid will do.
        others: as for `merge`.

    Returns:
        int64 `[1, X, Y, Z]` with `.affine`.

    Raises:
        InputError: As `read_label`, `merge` and `place`.
    """
    is_nrrd = path.name.lower().endswith(".nrrd")
    if is_nrrd:
        layers, affine, _ = read_nrrd(path)
    else:
        label = read_label(path, like=like)
        layers, affine = label[0].numpy(), label.affine.numpy()
    try:
        values = merge(layers if layers.ndim == 4 else layers[None], segments, classes, others=others)
        if is_nrrd and like is not None:
            scan = str(like.meta.get("filename_or_obj", ""))
            values = place(values, affine, like.affine.numpy(), like.shape[1:], scan)
            affine = like.affine.numpy()
    except InputError as error:
        raise _naming(path, error) from None
    return MetaTensor(
        torch.from_numpy(values.astype(np.int64))[None],
        affine=torch.as_tensor(affine, dtype=torch.float64).clone(),
        meta={"filename_or_obj": str(path)},
    )


def _slabs(shape: Sequence[int]) -> Iterator[tuple[slice, ...]]:
    depth = max(1, _SLAB_VOXELS // max(1, shape[0] * shape[1]))
    return (np.s_[:, :, start : start + depth] for start in range(0, shape[2], depth))


def _check_all_count(seen: np.ndarray, segments: Sequence[Segment], classes: Mapping[Segment, int]) -> None:
    """`seen`: whether a number occurs, `[L, numbers]`."""
    unknown = [segment.name for segment in segments if seen[segment.layer, segment.value] and segment not in classes]
    if unknown:
        raise InputError(
            f"segment {', '.join(repr(name) for name in unknown[:5])} is none of the model's structures, or might be "
            "two of them. Rename it, or remove it."
            + (_NO_VERDICT if any(name.casefold() == "ignore" for name in unknown) else "")
        )
    for segment in segments:
        seen[segment.layer, segment.value] = False
    unnamed = np.flatnonzero(seen[:, 1:].any(axis=0)) + 1
    if unnamed.size:
        raise InputError(f"voxels of {', '.join(map(str, unnamed[:5]))} belong to no segment that has a name.")


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and int(text) <= _MAX_NUMBER


def _distinct(segments: list[Segment]) -> list[Segment]:
    known: dict[tuple[int, int], Segment] = {}
    for segment in segments:
        other = known.setdefault((segment.layer, segment.value), segment)
        if other is not segment:
            raise InputError(f"segments '{other.name}' and '{segment.name}' have the same number, {segment.value}.")
    return segments


def _check_count(count: int) -> None:
    if count > _MOST_SEGMENTS:
        raise InputError(f"{count} segments, more than the {_MOST_SEGMENTS} that are read: leave out some.")


def _has_segments(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            header = re.split(rb"\r?\n\r?\n", file.read(_PEEK_BYTES), maxsplit=1)[0]
    except OSError:
        return False  # reading its voxels will say what is wrong
    return _PAIR_LINE.search(header) is not None


def _in_table(path: Path) -> list[Segment]:
    """Of a Caret label table, as TotalSegmentator writes it."""
    try:
        with ImageOpener(path) as file:
            extensions = nib.Nifti1Header.from_fileobj(file, check=False).extensions
        texts = [_content(extension).decode("utf-8", "replace") for extension in extensions]
    except (OSError, EOFError, TypeError, ValueError, zlib.error, ImageFileError, HeaderDataError, WrapStructError):
        return []  # reading its voxels will say what is wrong
    try:
        return segments_in_table("".join(texts))
    except InputError as error:
        raise _naming(path, error) from None


def _content(extension: Any) -> bytes:
    """Of a NIfTI extension of any kind: from nibabel 5.3 on `get_content` gives the bytes of some kinds only."""
    return bytes(extension.content if hasattr(extension, "content") else extension.get_content())


def _naming(path: Path, error: InputError) -> InputError:
    return InputError(f"{path}: {error}")
