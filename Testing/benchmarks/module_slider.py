"""A step of the review slider until three slice views show it: one property, against a new label map."""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable

import numpy as np
import slicer
from common import console, machine, show

import slicer_host
from UncertaintySegLib.scene import nodes, overlay
from UncertaintySegLib.scene.abstention import Abstention

VIEWS = ("Red", "Yellow", "Green")
THRESHOLDS = itertools.cycle((0.2, 0.5, 0.8, 0.35))


def volume(values: np.ndarray, name: str, class_name: str = "vtkMRMLScalarVolumeNode") -> slicer.vtkMRMLVolumeNode:
    """Return the values `[K, J, I]` as a volume node with a display."""
    node = slicer.util.addVolumeFromArray(values, nodeClassName=class_name, name=name)
    node.CreateDefaultDisplayNodes()
    return node


def shells(size: tuple[int, int, int]) -> np.ndarray:
    """Return an error probability `[K, J, I]` that is high on the border of a large ball."""
    k, j, i = (np.linspace(-1, 1, length, dtype=np.float32) for length in size)
    radius = np.sqrt(k[:, None, None] ** 2 + j[:, None] ** 2 + i**2)
    return np.exp(-(((radius - 0.6) / 0.1) ** 2))


def milliseconds(run: Callable[[], None], repeats: int) -> tuple[float, float]:
    """Return median wall and processor time after one warm-up; on a busy machine the second is the fairer."""
    run()
    times = []
    for _ in range(repeats):
        before = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - before[0], time.process_time() - before[1]))
    return tuple(1000 * statistics.median(column) for column in zip(*times, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, nargs=3, default=(384, 384, 160), metavar=("I", "J", "K"))
    parser.add_argument("--repeats", type=int, default=9)
    arguments = parser.parse_args()
    host = slicer_host.start()
    views = [host.slice_view(name) for name in VIEWS]
    risk = shells(tuple(arguments.size[::-1]))
    scan, risk_map = volume(100 * risk, "scan"), volume(risk, "risk")
    nodes.mark(risk_map, "case", "map")
    for view in views:
        view.composite_node.SetBackgroundVolumeID(scan.GetID())
        view.fit()

    ours = Abstention(host.scene)
    ours.follow(risk_map)
    layer = volume(risk, "label layer")
    label_map = volume(np.zeros(risk.shape, np.uint8), "label map", "vtkMRMLLabelMapVolumeNode")

    def step_ours() -> None:
        ours.set_threshold(next(THRESHOLDS))

    def step_layer() -> None:
        layer.GetDisplayNode().SetThreshold(next(THRESHOLDS), 2.0)
        layer.GetDisplayNode().ApplyThresholdOn()

    def step_label_map() -> None:
        slicer.util.updateVolumeFromArray(label_map, (risk > next(THRESHOLDS)).astype(np.uint8))

    def until_shown(step: Callable[[], None], shown: slicer.vtkMRMLVolumeNode | None = None) -> tuple[float, float]:
        ours.show(shown is None)
        for composite in overlay.slice_composites(host.scene):
            composite.SetLabelVolumeID(shown.GetID() if shown is not None else None)

        def run() -> None:
            step()
            for view in views:
                view.render()

        return milliseconds(run, arguments.repeats)

    times = {
        "threshold of a fractional segment (ours)": until_shown(step_ours),
        "threshold of a volume in the label layer, which the Segment Editor clears": until_shown(step_layer, layer),
        "label map anew": until_shown(step_label_map, label_map),
        "nothing changed: drawing the views": until_shown(lambda: None),
        "surface in 3D, once the slider rests (ours)": milliseconds(ours.update_surface, arguments.repeats),
    }
    console.print(machine())
    title = "{} x {} x {} voxels, three views of 500 x 450".format(*arguments.size)
    rows = [[name, f"{wall:.0f}", f"{processor:.0f}"] for name, (wall, processor) in times.items()]
    show(title, ["step", "median ms", "of processor"], rows)


if __name__ == "__main__":
    main()
