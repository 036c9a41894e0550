"""A model with as many structures as TotalSegmentator's `total`, small enough to run in a second."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data import anatomy
from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.data.segments import segments_in
from uncertaintyseg.inference.bundle import METADATA, Bundle
from uncertaintyseg.measures import MEASURES

COUNT = 117
LABEL = Path("labels") / "example_seg_fast_force_split.nii.gz"


def names() -> list[str]:
    """Those of `total` by id, as a real label has them; without one, so many of the table of known structures."""
    folder = find_real_data("totalsegmentator_examples")
    if folder is None:
        return [row.name for row in anatomy.structures()][:COUNT]
    return [segment.name for segment in segments_in(folder / LABEL)]


def write_bundle(folder: Path, structures: Sequence[str], task: str = "body", **options: object) -> Bundle:
    """A deterministic model of CT with these structures, codes and colours as the table has them, random weights."""
    path = tiny.write_bundle(folder, classes=len(structures) + 1, task=task, **options)
    rows = {name: anatomy.known(name) for name in structures}
    labels = [
        {"id": i, "name": name, "rgb": row.rgb, "snomed": row.snomed, "modifier": row.modifier}
        for i, (name, row) in enumerate(rows.items(), start=1)
    ]
    metadata = json.loads((path / METADATA).read_text(encoding="utf-8"))
    maps = [*MEASURES, *(f"{kind}_{name}" for name in structures for kind in ("probability", "variance"))]
    metadata["uncertainty"] |= {"labels": labels, "maps": maps, "modality": "CT"}
    (path / METADATA).write_text(json.dumps(metadata))
    return tiny.give_random_weights(path)
