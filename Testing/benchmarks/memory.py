"""What a scan takes: anonymous memory over the process's base, files, and time, by case, each in a process of its own.

    python Testing/benchmarks/memory.py [CASE ...]

The old way is `sliding_window_inference` over E[p], E[p^2] and E[H] of all classes, maps of all of it, and the maps
resampled together. Pages of files that are mapped do not count: the system takes them back when it wants to.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from monai.inferers import sliding_window_inference

from uncertaintyseg.backbones import Backbone
from uncertaintyseg.data.geometry import resample
from uncertaintyseg.inference.stream import (
    Gatherer,
    GridMap,
    MomentAverage,
    Scratch,
    WindowLayout,
    onto_grid,
    run_windows,
)
from uncertaintyseg.logits import Moments
from uncertaintyseg.measures import risk_maps
from uncertaintyseg.segmenter import Segmenter

FEATURES = 16
SURE = 500.0
"""Factor on random output weights: 94 % of the voxels are then 99 % sure of their class, as many as by the network of
`make proof ARGS="--only h"` on its CT."""


class Case(NamedTuple):
    """One scan.

    Attributes:
        way: "ours" or "old".
        classes: C.
        scan: its shape.
        spacing: of the scan in mm; the model's is 1.5.
        window: side of the windows.
        head: of the network; "network" runs its backbone and output layer alone.
        large: whether the backbone is nnU-Net's of default size.
        body: whether the scan holds a structure of each class in its place, which `Thin` then knows; else every
            structure is everywhere.
    """

    way: str
    classes: int
    scan: tuple[int, int, int]
    spacing: tuple[float, float, float] = (1.5, 1.5, 1.5)
    window: int = 96
    head: str = "deterministic"
    large: bool = False
    body: bool = False


CASES = {
    "old-96": Case("old", 118, (96, 96, 96)),
    "ours-96": Case("ours", 118, (96, 96, 96)),
    "ours-128": Case("ours", 118, (128, 128, 128)),
    "ours-256": Case("ours", 118, (256, 256, 256)),
    "length-1": Case("ours", 25, (128, 128, 192), window=64),
    "length-4": Case("ours", 25, (128, 128, 768), window=64),
    "ct": Case("ours", 25, (512, 512, 600), (0.8, 0.8, 1.0), window=128, body=True),
    "ct-half": Case("ours", 25, (256, 256, 300), (0.8, 0.8, 1.0), window=64, body=True),
    "network": Case("network", 25, (128, 128, 160), window=128, large=True),
    "maps": Case("ours", 25, (128, 128, 160), window=128, large=True),
    "maps-laplace": Case("ours", 25, (128, 128, 160), window=128, head="laplace", large=True),
}


class Thin(Backbone):
    """One layer: the memory of everything but a network."""

    in_channels, features, divisor = 1, FEATURES, 16

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv3d(1, FEATURES, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layer(image).relu_()


class Large(Backbone):
    """nnU-Net's plain network as its planner makes it for 128^3 windows: 31 million parameters."""

    in_channels, features, divisor = 1, 32, 32

    def __init__(self) -> None:
        from dynamic_network_architectures.architectures.unet import PlainConvUNet

        super().__init__()
        nn, stages = torch.nn, (32, 64, 128, 256, 320, 320)
        self.network = PlainConvUNet(
            1, 6, stages, nn.Conv3d, 3, [1, 2, 2, 2, 2, 2], 2, 2, 2, conv_bias=True, norm_op=nn.InstanceNorm3d,
            norm_op_kwargs={"eps": 1e-5, "affine": True}, nonlin=nn.LeakyReLU, nonlin_kwargs={"inplace": True},
        )  # fmt: skip
        self.network.decoder.seg_layers[-1] = nn.Identity()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.network(image)


def run(case: Case) -> dict[str, float]:
    """A case in this process."""
    torch.manual_seed(0)
    segmenter = Segmenter(Large() if case.large else Thin(), case.head, case.classes).eval()
    with torch.no_grad():
        segmenter.head.mean.weight *= SURE
    shape = [round(n * s / 1.5) for n, s in zip(case.scan, case.spacing, strict=True)]
    volume = torch.nn.functional.avg_pool3d(torch.randn(1, 1, *shape), 5, 1, 2)[0] * 4
    if case.body:
        volume = body(volume, case.classes)
        know(segmenter)
    model, scan = np.diag([1.5, 1.5, 1.5, 1]), np.diag([*case.spacing, 1])
    with peak() as found, tempfile.TemporaryDirectory() as folder:
        start, work = time.perf_counter(), time.process_time()
        if case.way == "old":
            old(volume, segmenter, case, model, scan)
        elif case.way == "network":
            network_alone(volume, segmenter, case)
        else:
            ours(volume, segmenter, case, GridMap(model, shape, scan, case.scan), Path(folder))
        found |= {"seconds": time.perf_counter() - start, "cpu": time.process_time() - work}
        files = [file.stat() for file in Path(folder).rglob("*") if file.is_file()]
        found["files_gb"] = sum(file.st_blocks * 512 for file in files) / 1e9
    return found


def body(noise: torch.Tensor, classes: int) -> torch.Tensor:
    """Structure c has the intensity c, along a helix through the scan; noise of a standard deviation of 0.2 on it."""
    found = torch.full_like(noise, -4)
    axes = [torch.linspace(-1, 1, n) for n in noise.shape[1:]]
    for c in range(1, classes):
        at = 2 * c / classes - 1
        centre = (0.45 * math.cos(3 * at), 0.45 * math.sin(3 * at), at)
        half = (0.1 + 0.3 * (c % 4) / 3, 0.1 + 0.2 * (c % 3) / 2, 0.05)
        x, y, z = ((axis - m) / h for axis, m, h in zip(axes, centre, half, strict=True))
        inside = x.square()[:, None, None] + y.square()[:, None] + z.square() < 1
        found[0][inside] = c
    return found + noise.mul(0.2 / noise.std())


def know(segmenter: Segmenter) -> None:
    """Have a thin network tell the classes of `body` by intensity: log-likelihoods for a standard deviation of 0.3."""
    centres = torch.tensor([-4.0, *range(1, segmenter.head.classes)])
    with torch.no_grad():
        conv, out = segmenter.backbone.layer, segmenter.head.mean
        conv.weight[:2].zero_()
        conv.bias[:2].zero_()
        conv.weight[0, 0, 1, 1, 1], conv.weight[1, 0, 1, 1, 1] = 1, -1  # a rectifier is next
        out.weight.zero_()
        out.weight[:, 0, 0, 0, 0] = centres / 0.3**2
        out.weight[:, 1, 0, 0, 0] = -centres / 0.3**2
        out.bias.copy_(-centres.square() / (2 * 0.3**2))


def ours(volume: torch.Tensor, segmenter: Segmenter, case: Case, grid: GridMap, folder: Path) -> None:
    """Windows to finished planes to boxes."""
    plan = WindowLayout((case.window,) * 3, 0.5).over(volume.shape[1:], segmenter.divisor)
    average = MomentAverage(segmenter, case.classes)
    gatherer = Gatherer(
        case.scan, grid.planes_axis(plan.axis), range(1, case.classes), Scratch(folder), covered=grid.covered
    )
    for chunk in onto_grid(run_windows(volume, plan, average), grid, average):
        gatherer.add(chunk)
    gatherer.finish()


@torch.inference_mode()
def network_alone(volume: torch.Tensor, segmenter: Segmenter, case: Case) -> None:
    """The windows' logits, and nothing made of them."""
    plan = WindowLayout((case.window,) * 3, 0.5).over(volume.shape[1:], segmenter.divisor)
    for start in plan.starts[plan.axis]:
        for corner in plan.corners(start):
            segmenter(plan.patch(volume, corner))


@torch.inference_mode()
def old(volume: torch.Tensor, segmenter: Segmenter, case: Case, model: np.ndarray, scan: np.ndarray) -> None:
    """All moments of all classes at once."""
    moments = Moments.unstacked(
        sliding_window_inference(
            volume[None], (case.window,) * 3, 1, lambda p: segmenter(p).distribution.moments().stacked(), overlap=0.5,
            mode="gaussian", padding_mode="replicate",
        )
    )  # fmt: skip
    maps = risk_maps(moments, [str(c) for c in range(1, case.classes)])
    stack = torch.cat(list(maps.values()), 1)[0]
    found = resample(stack, model, scan, case.scan)
    structures = torch.stack([found[list(maps).index(f"probability_{c}")] for c in range(1, case.classes)])
    torch.cat([1 - structures.sum(0, keepdim=True), structures]).argmax(0)


@contextmanager
def peak() -> Iterator[dict[str, float]]:
    """Peak anonymous memory in GB, over what there is at the start."""
    found: dict[str, float] = {}
    done, base, most = threading.Event(), _anonymous(), 0

    def watch() -> None:
        nonlocal most
        while not done.wait(0.01):
            most = max(most, _anonymous())

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found["peak_gb"] = (most - base) / 1e9


def _anonymous() -> int:
    """Bytes of this process that no file backs; all of its own where the system does not tell them apart."""
    try:
        line = next(
            li for li in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if li.startswith("RssAnon")
        )
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration):
        return psutil.Process(os.getpid()).memory_full_info().uss


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; default: the quick ones")
    parser.add_argument("--alone", action="store_true", help="run one case in this process and print it as JSON")
    given = parser.parse_args()
    if given.alone:
        print(json.dumps(run(CASES[given.cases[0]])))
        return
    print(f"{'case':14} {'classes':>7} {'scan':>16} {'peak GB':>8} {'files GB':>8} {'seconds':>8} {'CPU s':>8}")
    for name in given.cases or ("old-96", "ours-96", "ours-128"):
        command = [sys.executable, __file__, name, "--alone"]
        found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
        case = CASES[name]
        size = " x ".join(map(str, case.scan))
        memory = f"{found['peak_gb']:8.2f} {found['files_gb']:8.2f}"
        print(f"{name:14} {case.classes:7} {size:>16} {memory} {found['seconds']:8.1f} {found['cpu']:8.1f}", flush=True)


if __name__ == "__main__":
    main()
