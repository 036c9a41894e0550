"""What a stroke costs after it was drawn: keep it where it belongs, undo it, save it, each beside the plain way."""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer
from common import console, machine, seconds, show
from module_display import LABELS, open_case, write

from slicer_host import desktop

host = desktop.start()  # brings slicer.i18n, which the logic imports

from UncertaintySegLib.logic.drafts import Draft, Drafts  # noqa: E402
from UncertaintySegLib.logic.editing import Editing  # noqa: E402
from UncertaintySegLib.logic.session import Session  # noqa: E402
from UncertaintySegLib.scene import editing, masks, segments  # noqa: E402
from UncertaintySegLib.scene.case import CaseScene  # noqa: E402
from UncertaintySegLib.server.replies import RISK  # noqa: E402
from UncertaintySegLib.server.worker_client import WorkerClient  # noqa: E402


def steps(session: Session, folder: Path) -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    case = session.scene
    edits, drafts = Editing(session), Drafts(folder / "drafts")
    case.wanted = RISK
    case.show_map(RISK)
    session.state.review_threshold = 0.5
    edits.follow()
    named = [masks.segment_of(case.segmentation, label.id) for label in LABELS]
    plain = {segment_id: plain_mask(case, segment_id) for segment_id in named}
    thresholds, sizes = itertools.cycle((0.4, 0.6)), itertools.cycle((3, 5))

    def move_mask() -> None:
        session.state.review_threshold = next(thresholds)
        edits.confine()

    def stroke() -> None:
        """Change a few voxels of the shared image, as an effect does."""
        ids, size = case.label_ids(), next(sizes)
        k, j, i = ids.shape[0] // 2, ids.shape[1] // 2, int(0.78 * ids.shape[2])  # where the risk is highest
        ids[k : k + size, j : j + 20, i : i + 20] = 2
        case.draw(ids)
        edits.settle()
        session.history.undo()

    def mask_by_util() -> None:
        risk = slicer.util.arrayFromVolume(case.maps[RISK]) >= next(thresholds)
        slicer.util.updateSegmentBinaryLabelmapFromArray(
            risk.astype(np.uint8), case.segmentation, editing.SEGMENT, case.scan
        )

    def export() -> None:
        volume = case.scene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode", "label")
        logic = slicer.modules.segmentations.logic()
        extent = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
        logic.ExportSegmentsToLabelmapNode(case.segmentation, list(plain), volume, case.scan, extent)
        storage = slicer.vtkMRMLVolumeArchetypeStorageNode()
        storage.SetFileName(str(folder / "label.nii.gz"))
        storage.WriteData(volume)
        case.scene.RemoveNode(volume)

    def write_segment_by_segment() -> None:
        for segment_id, mask in plain.items():
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, case.segmentation, segment_id, case.scan)

    ids = case.label_ids()
    return {
        "mask: follows the threshold (ours)": move_mask,
        "mask: by slicer.util": mask_by_util,
        "label read from the segments (ours)": case.label_ids,
        "label read segment by segment": lambda: [plain_mask(case, segment_id) for segment_id in plain],
        "label drawn into the segments (ours)": lambda: case.draw(ids),
        "label drawn segment by segment": write_segment_by_segment,
        "stroke: kept in its place, noted and undone (ours)": stroke,
        "redo and undo (ours)": lambda: (session.history.redo(), session.history.undo()),
        "autosave (ours)": lambda: drafts.save(Draft("case", "url"), ids, case.scan),
        "autosave: exported and zipped": export,
        "label file written for the server (ours)": lambda: segments.write_label(
            case.segmentation, case.scan, folder / "sent.nii"
        ),
    }


def plain_mask(case: CaseScene, segment_id: str) -> np.ndarray:
    """Return a segment as Slicer's own utility gives it."""
    return slicer.util.arrayFromSegmentBinaryLabelmap(case.segmentation, segment_id, case.scan).copy()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(384, 384, 160), metavar=("I", "J", "K"))
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = write(folder, tuple(arguments.size))
        case = open_case(host.scene, files)
        session = Session(case, WorkerClient(), folder)
        rows = [[step, f"{1000 * seconds(run, arguments.repeats):.0f}"] for step, run in steps(session, folder).items()]
        console.print(machine())
        show("{} x {} x {} voxels, {} structures".format(*arguments.size, len(LABELS)), ["step", "median ms"], rows)
        session.close()


if __name__ == "__main__":
    main()
