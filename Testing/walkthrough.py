"""An annotator's first minutes with the module: its real panel and scene, a real server process, a real inference.

    python Testing/walkthrough.py --data DATA       # takes the pictures in docs/screenshots

The test of the whole road (Testing/Python/test_walkthrough.py) walks the same way.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from PySide6 import QtCore, QtTest

from slicer_host import desktop
from uncertaintyseg.cli.demo.server import running_server
from uncertaintyseg.cli.demo.studies import prepare

ROOT = Path(__file__).resolve().parents[1]
MODULE = ROOT / "SlicerUncertaintySeg" / "UncertaintySeg.py"
VIEWS = {"axial": "Red", "sagittal": "Yellow", "coronal": "Green"}
PATIENCE = 180.0


@dataclass
class Walkthrough:
    """What the annotator sees in the end.

    Attributes:
        panel: the module's panel.
        statuses: status line after each step, by the button that was pressed.
        pictures: PNG files by name: the panel, each slice view, and all of them side by side ("review").
    """

    panel: Any
    statuses: dict[str, str]
    pictures: dict[str, Path]


def walk(url: str, model: str, folder: Path) -> Walkthrough:
    """Connect, score, take the most doubtful case, run the model, look at its risk map, submit the label.

    Args:
        url: of a running server.
        model: to run.
        folder: for the pictures.
    """
    host = desktop.start()
    host.clear()
    views = {plane: host.slice_view(name) for plane, name in VIEWS.items()}
    panel = desktop.load_module(MODULE)
    ui, review, statuses = panel.widget.panel.ui, panel.widget.panel.review, {}

    def press(button: str) -> None:
        QtTest.QTest.mouseClick(getattr(ui, button), QtCore.Qt.LeftButton)
        desktop.wait_until(lambda: not review.busy, PATIENCE)
        statuses[button] = ui.statusLabel.text

    ui.serverLineEdit.setText(url)
    press("connectButton")
    ui.modelComboBox.setCurrentText(model)
    press("scoreButton")
    press("nextCaseButton")
    press("runButton")
    for view in views.values():
        view.fit()
        view.jump_to(review.case.riskiest_position(review.case.shown))
    folder.mkdir(parents=True, exist_ok=True)
    pictures = {plane: view.save_png(folder / f"{plane}.png") for plane, view in views.items()}
    pictures["panel"] = folder / "panel.png"
    panel.window.resize(430, 720)
    desktop.process_events()
    panel.window.grab().save(str(pictures["panel"]))
    pictures["review"] = side_by_side([pictures[name] for name in ("panel", *VIEWS)], folder / "review.png")
    press("submitButton")
    return Walkthrough(panel, statuses, pictures)


def side_by_side(files: list[Path], output: Path, height: int = 560) -> Path:
    """Put pictures in a row, all of one height."""
    images = [Image.open(file).convert("RGB") for file in files]
    images = [image.resize((round(image.width * height / image.height), height)) for image in images]
    row = Image.new("RGB", (sum(image.width for image in images), height))
    left = 0
    for image in images:
        row.paste(image, (left, 0))
        left += image.width
    row.save(output)
    return output


def main() -> None:
    """Take the pictures of the documentation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="hippocampus scans with labels")
    parser.add_argument("--model", default="hippocampus_low_rank")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "studies"
        studies = prepare(folder, options.data, 3)
        with running_server(studies.folder, folder / "server.log", keep=False) as server:
            walkthrough = walk(server.url, options.model, ROOT / "docs" / "screenshots")
    print("\n".join(f"{button}: {status}" for button, status in walkthrough.statuses.items()))


if __name__ == "__main__":
    main()
