"""The tutorial's ten steps in the module's real panel, with a real server process: takes the pictures of the docs.

    python Testing/walkthrough.py                    # simulated scans, as in the tutorial
    python Testing/walkthrough.py --data DATA        # real scans of the hippocampus: the picture in the README

The test of the whole road (Testing/Python/test_walkthrough.py) walks the same way.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import slicer
from PIL import Image
from PySide6 import QtCore, QtGui, QtTest

from slicer_host import desktop
from uncertaintyseg.cli.demo.server import running_server
from uncertaintyseg.cli.demo.studies import prepare

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "SlicerUncertaintySeg" / "UncertaintySeg.py"
SCREENSHOTS = ROOT / "docs" / "screenshots"
PATIENCE = 180.0
SIZE = (1600, 900)


@dataclass
class Walk:
    """What the annotator sees.

    Attributes:
        module: The loaded module.
        statuses: The status line after each step.
        pictures: PNG files of the whole window, by step.
        first_case: The case that is corrected and submitted.
        moved_voxels: How many voxels of its label one click changed.
        click_hint: What the panel said of the click.
    """

    module: Any
    folder: Path
    statuses: dict[str, str] = field(default_factory=dict)
    pictures: dict[str, Path] = field(default_factory=dict)
    first_case: str = ""
    moved_voxels: int = 0
    click_hint: str = ""

    @property
    def panel(self) -> Any:
        """The module's panel."""
        return self.module.widget.panel

    @property
    def session(self) -> Any:
        """What the panel shows."""
        return self.panel.session

    def ui(self, section: str) -> Any:
        """The widgets of a section."""
        return self.panel.sections[section].ui

    def press(self, section: str, button: str) -> None:
        """Open the section, click a button and wait until all is quiet again."""
        self.panel.sections[section].button.collapsed = False
        widget = getattr(self.ui(section), button)
        assert widget.isEnabled(), f"{button} is disabled: {self.panel.ui.statusLabel.text}"
        assert widget.isVisible(), f"{button} is hidden"
        QtTest.QTest.mouseClick(widget, QtCore.Qt.LeftButton)
        self.wait()

    def key(self, keys: str) -> None:
        """Press a key and wait until all is quiet again."""
        desktop.press_key(keys)
        self.wait()

    def wait(self, until: Callable[[], bool] = lambda: True) -> None:
        """Wait until nothing is asked any more."""
        session = self.session
        desktop.wait_until(lambda: not session.busy and not session.worker.pending and until(), PATIENCE)

    def step(self, name: str, *sections: str) -> None:
        """Note the status line and take a picture with these sections open, the last one in sight."""
        self.statuses[name] = self.panel.ui.statusLabel.text
        for section in self.panel.sections.values():
            section.button.collapsed = section.name not in sections
        for _turn in range(5):  # layouts within layouts settle one after the other
            desktop.process_events()
        self.pictures[name] = desktop.screenshot(self.folder / f"{name}.png", SIZE)


def connected(url: str, folder: Path) -> Walk:
    """Open the module and connect it to a server; pictures will go to the folder."""
    desktop.start()
    folder.mkdir(parents=True, exist_ok=True)
    way = Walk(desktop.load_module(MODULE), folder)
    way.ui("Server").serverLineEdit.setText(url)
    way.ui("Server").clientIdLineEdit.setText("anna")
    way.ui("Preferences").segmentByItselfCheckBox.setChecked(False)  # each step has its picture
    way.press("Server", "connectButton")
    return way


def walk(url: str, model: str, folder: Path) -> Walk:
    """Do the tutorial's steps 3 to 10 on a running server.

    Args:
        url: Of the server.
        model: To run.
        folder: For the pictures.
    """
    way = connected(url, folder)
    way.step("03_connected", "Server")

    task, _, head = model.partition("_")
    way.ui("Segment").taskComboBox.setCurrentText(task)
    way.ui("Segment").modelComboBox.setCurrentText(head)
    way.press("Cases", "scoreButton")
    way.press("Cases", "nextButton")
    way.ui("Cases").allCasesGroupBox.collapsed = False
    way.step("04_next_case", "Cases")

    way.first_case = way.session.state.sample.id
    way.press("Segment", "runButton")
    way.step("05_segmented", "Segment", "Risk")

    way.press("Regions", "nextButton")
    risk = way.ui("Risk")
    risk.structureComboBox.setCurrentIndex(1)
    for check_box in (risk.boundaryCheckBox, risk.surfaceCheckBox):
        check_box.setChecked(True)
        way.wait()
    look_at_surfaces()
    way.step("06_risk", "Risk")

    risk.boundaryCheckBox.setChecked(False)
    risk.mapCheckBox.click()
    way.ui("Selection").fillCheckBox.setChecked(True)
    way.ui("Selection").coverageSlider.setValue(98.0)
    way.wait()
    way.step("07_selection", "Selection")

    way.ui("Selection").fillCheckBox.setChecked(False)
    risk.mapCheckBox.click()
    way.key("N")
    way.key("Shift+N")
    way.step("08_regions", "Regions")

    before = way.session.scene.label_ids()
    click_worst_region(way)
    way.moved_voxels = int((way.session.scene.label_ids() != before).sum())
    way.click_hint = way.ui("Regions").clickHintLabel.text
    way.step("09_corrected", "Regions", "Edit")

    (folder / "report").mkdir(exist_ok=True)
    way.ui("Report").folderPathLineEdit.setCurrentPath(str(folder / "report"))
    way.press("Report", "reportButton")
    way.key("Shift+S")
    way.step("10_submitted", "Cases")

    if task == "phantom":  # what the sample scan shows
        refine_own_segmentation(way, head)
        way.step("11_refined", "Risk", "Regions")
    return way


def refine_own_segmentation(way: Walk, head: str) -> None:
    """Send the sample scan, which is in the scene already, and have its faulty segmentation reviewed."""
    from UncertaintySegLib.scene.sample import load_phantom

    volume, segmentation = load_phantom()
    cases, segment = way.ui("Cases"), way.ui("Segment")
    cases.sceneGroupBox.collapsed = False
    cases.volumeComboBox.setCurrentNode(volume)
    cases.consentCheckBox.setChecked(True)
    way.press("Cases", "uploadButton")
    segment.taskComboBox.setCurrentText("phantom")
    segment.modelComboBox.setCurrentText(head)
    segment.startComboBox.setCurrentIndex(segment.startComboBox.count - 1)
    segment.segmentationComboBox.setCurrentNode(segmentation)
    way.wait()  # the server says which segment is which label
    way.press("Segment", "runButton")
    way.press("Regions", "nextButton")


def look_at_surfaces() -> None:
    """Turn the 3D view's camera to what is in it."""
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    view.mrmlViewNode().SetBoxVisible(False)
    view.mrmlViewNode().SetAxisLabelsVisible(False)
    view.resetFocalPoint()
    slicer.app.layoutManager().resetThreeDViews()


def click_worst_region(way: Walk) -> None:
    """Say with one click that the first region is of its structure after all, or is not."""
    region = way.session.state.result.regions[0]
    combo_box = way.ui("Regions").structureComboBox
    wanted = region.structure if region.kind == "missed" else "background"
    texts = [combo_box.itemText(place) for place in range(combo_box.count)]
    combo_box.setCurrentIndex(next(place for place, text in enumerate(texts) if text.endswith(f" {wanted}")))
    way.key("C")
    view = desktop.start().slice_view("Red")
    view.pointer.click(view.pixel_of(region.ras_mm))
    way.wait()
    way.key("C")


def picture_of_page(page: Path, output: Path, width: int = 820, height: int = 1000) -> None:
    """Draw the top of a page of HTML as its PDF looks."""
    document = QtGui.QTextDocument()
    document.setHtml(page.read_text(encoding="utf-8"))
    document.setPageSize(QtCore.QSizeF(width, height))
    image = QtGui.QImage(width, height, QtGui.QImage.Format_RGB32)
    image.fill(QtCore.Qt.white)
    painter = QtGui.QPainter(image)
    document.drawContents(painter, QtCore.QRectF(0, 0, width, height))
    painter.end()
    image.save(str(output))


def shrink(picture: Path, output: Path) -> None:
    """Save a screenshot with 256 colours: a fifth of the size, for a few steps in what is smooth."""
    Image.open(picture).convert("RGB").quantize(256).save(output, optimize=True)


def main() -> None:
    """Take the pictures of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="hippocampus scans with labels, for the picture of the README")
    parser.add_argument("--model", help="by default the low-rank (SSN) model of these scans")
    parser.add_argument("--output", type=Path, default=SCREENSHOTS, help="folder of the pictures")
    options = parser.parse_args()
    model = options.model or ("hippocampus_low_rank" if options.data else "phantom_low_rank")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "studies"
        studies = prepare(folder, options.data, 4)
        with running_server(studies.folder, folder / "server.log", keep=False) as server:
            way = walk(server.url, model, Path(temporary) / "pictures")
            way.module.close()
        if options.data:
            shrink(way.pictures["09_corrected"], options.output / "review.png")
        else:
            tutorial = options.output / "tutorial"
            tutorial.mkdir(parents=True, exist_ok=True)
            picture_of_page(next((way.folder / "report").glob("*.html")), way.folder / "report.png")
            for picture in (*way.pictures.values(), way.folder / "report.png"):
                shrink(picture, tutorial / picture.name)
    print("\n".join(f"{step}: {status}" for step, status in way.statuses.items()))


if __name__ == "__main__":
    main()
