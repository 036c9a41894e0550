"""The segments of a case as undo keeps them: which there are, how they look, and what a label leaves out of them.

What is drawn in segments that have a label is kept by whoever has `segments.label_ids`.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
import slicer

from UncertaintySegLib.scene import masks, segments


@dataclass(frozen=True)
class Drawn:
    """Voxels on the scan's grid: the box around them, first and last K J I, and packed which of it they are."""

    box: tuple[tuple[int, int], ...] = ()
    bits: bytes = b""


@dataclass(frozen=True)
class Entry:
    """One segment.

    Attributes:
        id: Of the segment.
        label_id: What its voxels are in a label; None for a segment that a label leaves out.
        name, color, terminology: As the segment has them.
        drawn: What is drawn in a segment that a label leaves out.
        made_from: Its properties and tags, to make it again.
        stamp: Tells whether its voxels may be others than when they were read.
    """

    id: str
    label_id: int | None
    name: str
    color: tuple[float, float, float]
    terminology: str
    drawn: Drawn | None
    made_from: slicer.vtkSegment = field(compare=False, repr=False)
    stamp: object = field(compare=False, repr=False)


SegmentList = tuple[Entry, ...]


def read(
    segmentation: slicer.vtkMRMLSegmentationNode,
    reference: slicer.vtkMRMLScalarVolumeNode,
    before: SegmentList = (),
) -> SegmentList:
    """Return the segments in their order, less those that the module keeps for itself.

    Args:
        segmentation: Has them.
        reference: The scan.
        before: What was read last: voxels that nobody has touched since are not read again.
    """
    contents, known = segmentation.GetSegmentation(), {entry.id: entry for entry in before}
    found = []
    for segment_id in contents.GetSegmentIDs():
        segment = contents.GetSegment(segment_id)
        if segments.tag(segment, segments.HELPER):
            continue
        label_id = segments.tag(segment, segments.LABEL_ID)
        stamp, drawn = None, None
        if not label_id:
            image = segment.GetRepresentation(contents.GetSourceRepresentationName())
            stamp = (image.GetMTime() if image is not None else 0, segment.GetLabelValue())
            same = segment_id in known and known[segment_id].stamp == stamp
            drawn = known[segment_id].drawn if same else _drawn(segmentation, reference, segment_id)
        found.append(
            Entry(
                segment_id,
                int(label_id) if label_id else None,
                segment.GetName() or "",
                segment.GetColor(),
                segments.tag(segment, segment.GetTerminologyEntryTagName()) or "",
                drawn,
                _properties(segment),
                stamp,
            )
        )
    return tuple(found)


def put_back(segmentation: slicer.vtkMRMLSegmentationNode, wanted: SegmentList) -> list[Entry]:
    """Make the segments again whose label no segment has any more, where they were and empty; return which.

    A label has the model's structures, drawn or not: whoever removes one has emptied it.
    """
    contents, there = segmentation.GetSegmentation(), set(segments.named(segmentation).values())
    gone = [entry for entry in wanted if entry.label_id is not None and entry.label_id not in there]
    for entry in gone:
        after = [other.id for other in wanted[wanted.index(entry) + 1 :] if contents.GetSegment(other.id) is not None]
        contents.AddSegment(_properties(entry.made_from), entry.id, after[0] if after else "")
    return gone


def restore(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, wanted: SegmentList
) -> None:
    """Make the segments what `read` returned; what is drawn in those that have a label is as it was, or nothing."""
    contents = segmentation.GetSegmentation()
    now = {entry.id: entry for entry in read(segmentation, reference)}
    for segment_id in now.keys() - {entry.id for entry in wanted}:
        contents.RemoveSegment(segment_id)
    for entry in wanted:
        if entry.id not in now:
            contents.AddSegment(_properties(entry.made_from), entry.id)
        segment = contents.GetSegment(entry.id)
        if now.get(entry.id) != entry:
            segment.SetName(entry.name)
            segment.SetColor(*entry.color)
            segment.SetTag(segment.GetTerminologyEntryTagName(), entry.terminology)
            _draw(contents, segment, reference, entry)
    order = [entry.id for entry in wanted]
    if [segment_id for segment_id in contents.GetSegmentIDs() if segment_id in order] != order:
        contents.ReorderSegments(order)


def _properties(segment: slicer.vtkSegment) -> slicer.vtkSegment:
    """Return a segment with all that another has but its voxels."""
    copy = slicer.vtkSegment()
    copy.DeepCopyMetadata(segment)
    copy.SetLabelValue(segment.GetLabelValue())
    copy.SetNameAutoGenerated(segment.GetNameAutoGenerated())
    copy.SetColorAutoGenerated(segment.GetColorAutoGenerated())
    return copy


def _drawn(
    segmentation: slicer.vtkMRMLSegmentationNode, reference: slicer.vtkMRMLScalarVolumeNode, segment_id: str
) -> Drawn:
    image, values, box = segments.layer(segmentation, reference, segment_id)
    segment = segmentation.GetSegmentation().GetSegment(segment_id)
    mask = values == (segment.GetLabelValue() if image is not None else 1)
    inner = masks.box_around(mask)
    if inner is None:
        return Drawn()
    starts = [part.start or 0 for part in box]
    edges = tuple((part.start + start, part.stop + start - 1) for part, start in zip(inner, starts))
    return Drawn(edges, zlib.compress(np.packbits(mask[inner]).tobytes(), 1))


def _draw(
    contents: slicer.vtkSegmentation,
    segment: slicer.vtkSegment,
    reference: slicer.vtkMRMLScalarVolumeNode,
    entry: Entry,
) -> None:
    if entry.drawn is None:
        return
    mask = np.zeros(reference.GetImageData().GetDimensions()[::-1], bool)
    if entry.drawn.box:
        box = tuple(slice(first, last + 1) for first, last in entry.drawn.box)
        bits = np.frombuffer(zlib.decompress(entry.drawn.bits), np.uint8)
        mask[box] = np.unpackbits(bits, count=mask[box].size).reshape(mask[box].shape)
    name = contents.GetSourceRepresentationName()
    made = masks.new_segment(entry.name, entry.color, mask, reference)
    segment.SetLabelValue(made.GetLabelValue())
    segment.AddRepresentation(name, made.GetRepresentation(name))
