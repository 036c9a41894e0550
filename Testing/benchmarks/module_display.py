"""What the module shows of a case: a slider step, a map, a redrawn label, a surface, each beside the plain way.

Every time runs until three slice views show it; with --memory also what a large CT with six maps takes.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import psutil
import slicer
from common import console, machine, seconds, show

from slicer_host import desktop
from UncertaintySegLib.scene import masks, nodes, restriction
from UncertaintySegLib.scene.case import CaseScene
from UncertaintySegLib.scene.surfaces import RiskSurface
from UncertaintySegLib.server.replies import Label
from UncertaintySegLib.server.results import InferResult, MapInfo

VIEWS = ("Red", "Yellow", "Green")
LABELS = (Label(1, "organ"), Label(2, "lesion"))
AFFINE = np.diag([-0.8, -0.8, 2.0, 1.0])
INFO = MapInfo("/map", "1", (0.0, 1.0), "total")
THRESHOLDS = itertools.cycle((0.2, 0.5, 0.8, 0.35))


def radius(size: tuple[int, int, int]) -> np.ndarray:
    """Return how far each voxel is from the middle, 1 at the faces, `[I, J, K]`."""
    i, j, k = (np.linspace(-1, 1, length, dtype=np.float32) for length in size)
    return np.sqrt(i[:, None, None] ** 2 + j[:, None] ** 2 + k**2)


def write(folder: Path, size: tuple[int, int, int]) -> dict[str, Path]:
    """Write a scan, two labels and a map as the child process unzips them, and the map as the server sends it."""
    away = radius(size)
    risk = np.rint(65535 * np.exp(-(((away - 0.6) / 0.1) ** 2))).astype(np.uint16)
    label = (away < 0.6).astype(np.uint8) + (away < 0.25)
    arrays = {
        "scan.nii": (100 * away).astype(np.int16),
        "label.nii": label,
        "other.nii": np.roll(label, 3, axis=0),
        "map.nii": risk,
        "map.nii.gz": risk,
    }
    for name, values in arrays.items():
        image = nib.Nifti1Image(values, AFFINE)
        if name.startswith("map"):
            image.header.set_slope_inter(1 / 65535, 0.0)
        image.to_filename(folder / name)
    return {name: folder / name for name in arrays}


def result(**changes: object) -> InferResult:
    """Return a result with one map."""
    return InferResult("k", "", LABELS, {"error_probability": INFO}, (), {}, **changes)


def open_case(scene: slicer.vtkMRMLScene, files: dict[str, Path]) -> CaseScene:
    """Show the case as the panel does."""
    case = CaseScene(scene)
    case.show_scan("case", files["scan.nii"])
    case.show_segmentation(files["label.nii"], LABELS, {})
    case.show_result_maps(result(), {"error_probability": files["map.nii"]})
    return case


def steps(case: CaseScene, files: dict[str, Path]) -> dict[str, Callable[[], object]]:
    """Return what is timed."""
    risk = case.maps["error_probability"]
    values = slicer.util.arrayFromVolume(risk).copy()
    voxels = values.copy()
    labels = itertools.cycle((files["other.nii"], files["label.nii"]))
    surface = RiskSurface(case.scene)
    segment = masks.segment_of(case.segmentation, 1)

    def threshold_voxels() -> None:
        np.multiply(values, values >= next(THRESHOLDS), out=voxels)
        slicer.util.updateVolumeFromArray(risk, voxels)

    def redraw_segment_by_segment() -> None:
        volume = nodes.read_volume(case.scene, next(labels), "label", labels=True)
        ids = slicer.util.arrayFromVolume(volume)
        for label in LABELS:
            mask = (ids == label.id).astype(np.uint8)
            segment_id = masks.segment_of(case.segmentation, label.id)
            slicer.util.updateSegmentBinaryLabelmapFromArray(mask, case.segmentation, segment_id, case.scan)
        nodes.remove(case.scene, volume)

    def keep_near() -> None:
        mask = masks.structure_mask(case.segmentation, 2, case.scan)
        case.restrict(restriction.place(mask, masks.spacing(case.scan), restriction.NEAR, 5.0))

    def load(name: str) -> Callable[[], object]:
        return lambda: case.show_result_maps(result(), {"error_probability": files[name]})

    return {
        "slider: one display property (ours)": lambda: case.set_threshold(next(THRESHOLDS)),
        "slider: the voxels thresholded anew": threshold_voxels,
        "map: unzipped by the child process (ours)": load("map.nii"),
        "map: zipped, read in Slicer": load("map.nii.gz"),
        "label: all segments at once (ours)": lambda: case.redraw(next(labels)),
        "label: segment by segment": redraw_segment_by_segment,
        "risk only within 5 mm of a structure": keep_near,
        "risk everywhere again": lambda: case.restrict(None),
        "surface coloured by risk, once a slider rests": lambda: surface.show(case.segmentation, [segment], risk, 1.0),
        "nothing changed: drawing the views": lambda: None,
    }


def memory(scene: slicer.vtkMRMLScene, folder: Path) -> list[list[str]]:
    """Return what this process holds before and after a CT of 512 x 512 x 300 voxels and its six maps."""
    files = write(folder, (512, 512, 300))
    process = psutil.Process()
    before = process.memory_info().rss
    case = open_case(scene, files)
    rows = [["scan, segmentation and one map", f"{(process.memory_info().rss - before) / 1e6:.0f}"]]
    for number in range(2, 7):
        case.add_map(f"map_{number}", files["map.nii"], INFO, {})
        case.show_map(f"map_{number}")
    rows.append(
        ["after all six maps were shown, of which three stay", f"{(process.memory_info().rss - before) / 1e6:.0f}"]
    )
    case.clear()
    rows.append(["after the case is closed", f"{(process.memory_info().rss - before) / 1e6:.0f}"])
    return rows


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(384, 384, 160), metavar=("I", "J", "K"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    host = desktop.start()
    views = [host.slice_view(name) for name in VIEWS]
    with tempfile.TemporaryDirectory() as folder:
        files = write(Path(folder), tuple(arguments.size))
        case = open_case(host.scene, files)
        for view in views:
            view.fit()

        def until_shown(step: Callable[[], object]) -> float:
            def run() -> None:
                step()
                for view in views:
                    view.render()

            return seconds(run, arguments.repeats)

        rows = [[name, f"{1000 * until_shown(step):.0f}"] for name, step in steps(case, files).items()]
        console.print(machine())
        show("{} x {} x {} voxels, three views".format(*arguments.size), ["step", "median ms"], rows)
        if arguments.memory:
            case.clear()
            host.clear()
            show("A CT of 512 x 512 x 300 voxels", ["in memory", "MB more"], memory(host.scene, Path(folder)))


if __name__ == "__main__":
    main()
