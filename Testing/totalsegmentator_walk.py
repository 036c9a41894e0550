"""The road of somebody with a label of TotalSegmentator in the module's real panel: takes the pictures of its page.

    python Testing/totalsegmentator_walk.py --scan CT --label LABEL
    python Testing/totalsegmentator_walk.py --models MODELS --model totalsegmentator_total_fast --scan CT --label LABEL

Without `--models` the weights are laid out as TotalSegmentator's are, untrained: then risk and regions mean nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
from pathlib import Path

import slicer

from slicer_host import desktop
from uncertaintyseg.cli.demo.server import running_server
from uncertaintyseg.data.segments import segments_in
from walkthrough import SCREENSHOTS, Walk, connected, look_at_surfaces, shrink

MODEL = "totalsegmentator_total_fast"
CASE = "ct"
_BRUSH_MM = 9.0
_REVIEW_SECONDS = 600.0


def untrained(folder: Path) -> Path:
    """Import TotalSegmentator's `total_fast` with random weights; returns the folder of models."""
    from Testing.Python.uncertaintyseg.imports.totalsegmentator_weights import lay_out
    from uncertaintyseg.imports import import_model

    os.environ["TOTALSEG_WEIGHTS_PATH"] = str(lay_out(folder / "weights", "total_fast", patch=64))
    import_model(Path("totalsegmentator"), output=folder / "models", task="total_fast")
    return folder / "models"


def walk(url: str, model: str, label: Path, folder: Path) -> Walk:
    """Match, review, look at the worst place, correct it and submit.

    Args:
        url: Of a server that has the scan as `CASE`.
        model: To review with.
        label: A label map or segmentation of the scan.
        folder: For the pictures.
    """
    way = connected(url, folder)
    segment = way.ui("Segment")
    tasks = [segment.taskComboBox.itemText(place) for place in range(segment.taskComboBox.count)]
    task = max((task for task in tasks if model.startswith(task)), key=len)
    segment.taskComboBox.setCurrentText(task)
    segment.modelComboBox.setCurrentText(model[len(task) + 1 :] or model)
    way.panel.sections["Cases"].cases.open(CASE)
    way.wait()
    segment.startComboBox.setCurrentIndex(segment.startComboBox.count - 1)
    segment.segmentationComboBox.setCurrentNode(load_named(label))
    way.wait()
    way.step("1_matched", "Segment")

    way.press("Segment", "runButton")
    way.press("Regions", "nextButton")
    way.ui("Risk").surfaceCheckBox.setChecked(True)
    way.wait()
    look_at_surfaces()
    way.step("2_risk", "Risk")

    correct_worst(way)
    way.step("3_corrected", "Regions", "Edit")
    way.press("Edit", "submitButton")
    way.statuses["4_submitted"] = way.panel.ui.statusLabel.text
    return way


def load_named(label: Path) -> slicer.vtkMRMLSegmentationNode:
    """Load a label, its segments with the names that TotalSegmentator wrote into the file, if any."""
    node = slicer.util.loadSegmentation(str(label))
    names = {item.value: item.name for item in segments_in(label)}
    contents = node.GetSegmentation()
    for segment_id in contents.GetSegmentIDs() if names else ():
        segment = contents.GetSegment(segment_id)
        segment.SetName(names[segment.GetLabelValue()])
    return node


def correct_worst(way: Walk) -> None:
    """Paint or erase a ball at the worst region, and wait for the risk of what is drawn then."""
    worst, edit = way.session.state.result.regions[0], way.panel.sections["Edit"]
    contents = way.session.scene.segmentation.GetSegmentation()
    edit.ui.insideRiskCheckBox.setChecked(False)
    edit.editor.setCurrentSegmentID(contents.GetSegmentIdBySegmentName(worst.structure))
    (desktop.erase if worst.kind == "extra" else desktop.paint)(edit.editor, worst.ras_mm, _BRUSH_MM)
    desktop.wait_until(lambda: edit.reviewing.text.startswith("Risk estimated:"), _REVIEW_SECONDS)
    way.wait()


def main() -> None:
    """Take the pictures of docs/totalsegmentator.md."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scan", type=Path, required=True, help="a CT")
    parser.add_argument("--label", type=Path, required=True, help="TotalSegmentator's label of it, one file")
    parser.add_argument("--models", type=Path, help="folder with the imported model; by default an untrained one")
    parser.add_argument("--model", default=MODEL)
    parser.add_argument("--output", type=Path, default=SCREENSHOTS / "totalsegmentator", help="folder of the pictures")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        os.environ["UNCERTAINTYSEG_MODELS"] = str(options.models or untrained(folder))
        (folder / "studies").mkdir()
        suffix = "".join(options.scan.suffixes[-2:])
        shutil.copyfile(options.scan, folder / "studies" / f"{CASE}{suffix}")
        with running_server(folder / "studies", folder / "server.log", keep=False) as server:
            way = walk(server.url, options.model, options.label, folder / "pictures")
            way.module.close()
        options.output.mkdir(parents=True, exist_ok=True)
        for picture in way.pictures.values():
            shrink(picture, options.output / picture.name)
    print("\n".join(f"{step}: {status}" for step, status in way.statuses.items()))


if __name__ == "__main__":
    main()
