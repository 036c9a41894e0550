"""A jump to a region, the answer to a click on a label that was drawn on, and its undo; each beside the plain way.

Every time runs until three slice views show it. The plain answer loses what was drawn by hand.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from common import console, machine, seconds, show
from module_display import LABELS, VIEWS, open_case, write

from slicer_host import desktop
from UncertaintySegLib.logic.model_label import ModelLabel
from UncertaintySegLib.scene import masks, navigation, segments
from UncertaintySegLib.scene.case import CaseScene


def steps(case: CaseScene, files: dict[str, Path]) -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    size = np.array(case.scan.GetImageData().GetDimensions())
    boxes = itertools.cycle([(tuple(size // 8 * a), tuple(size // 8 * (a + 1))) for a in range(1, 7)])
    box = navigation.RegionBox(case.scene)
    label, both = ModelLabel(case), itertools.cycle((files["other.nii"], files["label.nii"]))
    case.draw(drawn_on(case))
    before, given = [files["label.nii"]], []

    def jump() -> None:
        region = next(boxes)
        corners = navigation.corners(case.scan, region)
        navigation.look_at(case.scene, tuple(corners.mean(axis=0)), corners)
        box.show("case", corners)

    def answer() -> None:
        new = next(both)
        given[:] = [label.moved_to(new, before[0], [])]
        before[0] = new
        case.draw(given[0].ids)

    def answer_segment_by_segment() -> None:
        ids = segments.file_ids(case.scan, next(both))
        for structure in LABELS:
            segment_id = masks.segment_of(case.segmentation, structure.id)
            mask = (ids == structure.id).astype(np.uint8)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, case.segmentation, segment_id, case.scan)

    def undo() -> None:
        label.take_back(given[0])
        label.move_again(given[0])

    return {
        "jump to a region, box included": jump,
        "answer to a click; what was drawn stays (ours)": answer,
        "answer to a click, segment by segment": answer_segment_by_segment,
        "undo and redo of a click": undo,
        "nothing changed: drawing the views": lambda: None,
    }


def drawn_on(case: CaseScene) -> np.ndarray:
    """Return the label with a block drawn by hand."""
    ids = case.label_ids()
    ids[2:8, 10:60, 10:60] = 2
    return ids


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(384, 384, 160), metavar=("I", "J", "K"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    host = desktop.start()
    views = [host.slice_view(name) for name in VIEWS]
    with tempfile.TemporaryDirectory() as folder:
        case = open_case(host.scene, files := write(Path(folder), tuple(arguments.size)))

        def until_shown(step: Callable[[], object]) -> float:
            def run() -> None:
                step()
                for view in views:
                    view.render()

            return seconds(run, arguments.repeats)

        rows = [[name, f"{1000 * until_shown(step):.0f}"] for name, step in steps(case, files).items()]
        console.print(machine())
        show("{} x {} x {} voxels, three views".format(*arguments.size), ["step", "median ms"], rows)


if __name__ == "__main__":
    main()
