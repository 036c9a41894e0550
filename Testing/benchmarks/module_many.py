"""The whole panel with the 117 structures of a body: how long Slicer's window stands still for what a person does.

With --fewer also the same with two structures, which is what it costs anyhow. --profile STEP says where a step's time
goes.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import slicer
from common import console, machine, show

from slicer_host import desktop
from UncertaintySegLib.server.replies import Sample, parse_info
from UncertaintySegLib.server.results import parse_result

MODULE = Path(__file__).parents[2] / "SlicerUncertaintySeg" / "UncertaintySeg.py"
AFFINE = np.diag([-1.5, -1.5, 1.5, 1.0])
MODEL = "body_deterministic"


def blocks(size: tuple[int, int, int], count: int) -> np.ndarray:
    """Return a label volume with `count` balls in rows, as many organs lie beside each other."""
    side = int(np.ceil(count ** (1 / 3)))
    step = [length / side for length in size]
    grids = np.indices(size, np.float32)
    cell = [np.minimum((grid // width).astype(int), side - 1) for grid, width in zip(grids, step, strict=True)]
    number = (cell[0] * side + cell[1]) * side + cell[2] + 1
    away = sum(((grid % width) / width - 0.5) ** 2 for grid, width in zip(grids, step, strict=True))
    return np.where((away < 0.16) & (number <= count), number, 0).astype(np.uint8)


def write(folder: Path, size: tuple[int, int, int], count: int) -> dict[str, Path]:
    """Write a scan, its label and a risk map, as the child process unzips them."""
    label = blocks(size, count)
    risk = np.random.default_rng(0).random(size, np.float32) * (0.2 + 0.6 * (label > 0))
    for name, values in {"scan": 50.0 * label, "label": label, "risk": risk}.items():
        kind = np.int16 if name == "scan" else values.dtype
        nib.Nifti1Image(values.astype(kind), AFFINE).to_filename(folder / f"{name}.nii")
    return {name: folder / f"{name}.nii" for name in ("scan", "label", "risk")}


def answer(count: int) -> dict[str, Any]:
    """Return what the server says of an inference with so many structures."""
    labels = [{"id": i, "name": f"structure_{i}", "rgb": [2 * i, 100, 200]} for i in range(1, count + 1)]
    maps = ["error_probability", *(f"probability_{label['name']}" for label in labels)]
    structure = {"volume_ml": 30.0, "volume_ml_95": None, "interval_method": "none", "mean_risk": 0.1}
    wrong = {"expected_dice": 0.9, "flag": None}
    region = {"ijk": [1, 1, 1], "bounding_box": [[1, 1, 1], [9, 9, 9]], "volume_ml": 1.0, "ras_mm": [0.0, 0.0, 0.0]}
    map_info = {"unit": "1", "range": [0.0, 1.0], "source": "total"}
    return {
        "label": "/uncertainty/v1/results/k/label.nii.gz",
        "label_names": {label["name"]: label["id"] for label in labels},
        "labels": labels,
        "risk": {
            "result": "k",
            "maps": {name: {**map_info, "url": f"/uncertainty/v1/results/k/maps/{name}.nii.gz"} for name in maps},
            "structures": [
                {**structure, **wrong, "name": label["name"], "id": label["id"], "expected_error_ml": label["id"] / 9}
                for label in labels
            ],
            "regions": [
                {**region, "rank": i, "structure": f"structure_{1 + i % count}", "expected_error_ml": 1 / i}
                for i in range(1, 51)
            ],
            "provenance": {"model": MODEL, "params": {}},
        },
    }


def info(raw: dict[str, Any]) -> dict[str, Any]:
    """Return what the server says of itself."""
    model = {"labels": raw["label_names"], "label_details": raw["labels"], "head": "deterministic", "task": "body"}
    return {"name": "SlicerUncertaintySeg", "version": "0", "models": {MODEL: model}}


class Steps:
    """Somebody at the whole module, with a result; each method is something that they do."""

    def __init__(self, folder: Path, size: tuple[int, int, int], count: int) -> None:
        self.files, self.raw, self.count = write(folder, size, count), answer(count), count
        self.module = desktop.load_module(MODULE)
        self.panel = self.module.widget.panel
        self.session = self.panel.session
        self.session.state.info = parse_info(info(self.raw))
        self.session.state.model = MODEL
        for section in self.panel.sections.values():
            section.button.collapsed = False
        self.panel.enter()
        self.session.open_case(Sample("body"), self.files["scan"])
        self.risk = self.panel.sections["Risk"]

    def show_the_result(self) -> None:
        """Label, table, regions and the first map."""
        self.session.show_result(parse_result(self.raw), self.files["label"], {"error_probability": self.files["risk"]})

    def refresh(self) -> None:
        """What every progress report costs."""
        self.session.changed.emit()

    def show_a_segmentation_of_the_scene(self) -> None:
        """The table that says which label each of its segments is, once the server has answered."""
        table = self.panel.sections["Segment"]._parts
        model = self.session.state.info.models[MODEL]
        from UncertaintySegLib.logic.matching import proposal
        from UncertaintySegLib.scene import intake_labels

        parts = intake_labels.parts(self.session.scene.segmentation)
        table._on_proposal(parts, proposal(parts, model, {}, {}), model)

    def choose_a_structure(self) -> None:
        """As somebody who looks for one does."""
        box = self.risk.ui.structureComboBox
        box.setCurrentIndex(1 + box.currentIndex % self.count)

    def sort_the_table(self) -> None:
        """By expected error."""
        self.risk.table._sort(1)

    def look_at_a_structure(self) -> None:
        """A click on a row that has no region: the riskiest place is sought."""
        self.risk.logic.riskiest_place(self.session.state.result.structures[-1])

    def show_one_alone(self) -> None:
        """A double click on a row."""
        self.risk.logic.show_only(self.session.state.result.structures[-1].id)

    def show_the_surface_of_one(self) -> None:
        """Coloured by risk, in 3D."""
        self.risk.logic.structure = self.session.state.result.structures[-1].name
        self.risk.logic.surface_wanted = True
        self.risk.logic.update_3d()

    def show_the_surface_of_all(self) -> None:
        """Coloured by risk, in 3D."""
        self.risk.logic.structure = ""
        self.risk.logic.surface_wanted = True
        self.risk.logic.update_3d()

    def forget_surfaces(self) -> None:
        """Before what follows."""
        self.risk.logic.surface_wanted = False
        self.risk.logic.update_3d()

    def write_the_label(self) -> None:
        """As after every edit."""
        self.session.scene.write_label(self.files["label"].with_name("edited.nii"))

    def draw_the_label_anew(self) -> None:
        """As after every click."""
        self.session.scene.redraw(self.files["label"])


STEPS = [name for name in vars(Steps) if not name.startswith("_")]


def measured(run: Callable[[], None]) -> tuple[float, float]:
    """Milliseconds until the window answers again: on the clock, and of the processor, fairer on a busy machine."""
    clock, processor = time.perf_counter(), time.process_time()
    run()
    desktop.process_events()
    return 1000 * (time.perf_counter() - clock), 1000 * (time.process_time() - processor)


def profiled(run: Callable[[], None]) -> None:
    """Print where the time goes."""
    profile = cProfile.Profile()
    profile.runcall(lambda: (run(), desktop.process_events()))
    pstats.Stats(profile).sort_stats("cumulative").print_stats(45)


def times_of(count: int, arguments: argparse.Namespace) -> dict[str, tuple[float, float]]:
    """Milliseconds of each step, the best of two."""
    slicer.mrmlScene.Clear(0)
    with tempfile.TemporaryDirectory() as folder:
        steps = Steps(Path(folder), tuple(arguments.size), count)
        found = {}
        for name in STEPS:
            run = getattr(steps, name)
            found[name] = min(measured(run) for _ in range(2))
            if name == arguments.profile:
                profiled(run)
        steps.module.close()
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(256, 200, 256), metavar=("I", "J", "K"))
    parser.add_argument("--count", type=int, default=117)
    parser.add_argument("--fewer", action="store_true")
    parser.add_argument("--profile", choices=STEPS)
    arguments = parser.parse_args()
    host = desktop.start()
    for name in ("Red", "Yellow", "Green"):
        host.slice_view(name)
    counts = [arguments.count, *([2] if arguments.fewer else [])]
    columns = [times_of(count, arguments) for count in counts]
    console.print(machine())
    title = "{} x {} x {} voxels, ms".format(*arguments.size)
    rows = [[name.replace("_", " "), *(f"{ms:.0f}" for column in columns for ms in column[name])] for name in STEPS]
    show(title, ["step", *(f"{count} structures{part}" for count in counts for part in ("", ", processor"))], rows)


if __name__ == "__main__":
    main()
