"""Test-time augmentation of ours beside MONAI's: the same network, image and flips; time, peak memory, agreement."""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import torch
from common import console, machine, show
from monai.data import MetaTensor
from monai.data.test_time_augmentation import TestTimeAugmentation
from monai.transforms import Compose, RandFlipd
from torch import Tensor

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.inference.passes.tta import Augmented
from uncertaintyseg.segmenter import Segmenter

PLAIN, OURS, RAW, STOCK = "one pass", "ours", "MONAI, its stack averaged", "MONAI, as it comes"
RUNS = [(PLAIN, 1), (OURS, 8), (RAW, 8), (STOCK, 8), (OURS, 48), (RAW, 48), (STOCK, 48)]
Answer = Callable[[], tuple[Tensor, Tensor]]


class NextFlipd(RandFlipd):
    """MONAI's random flip of one axis, in turn instead of by chance: of three in a row, 8 calls make the 8 flips."""

    def __init__(self, axis: int) -> None:
        super().__init__("image", prob=1.0, spatial_axis=axis)
        self._calls, self._axis = count(), axis

    def randomize(self, data: object = None) -> None:
        self._do_transform = bool(next(self._calls) >> self._axis & 1)


def network() -> Segmenter:
    """The architecture as shipped, random weights."""
    torch.manual_seed(0)
    return Segmenter(DynUNetBackbone(), "deterministic", classes=3).eval()


def probability(segmenter: Segmenter, image: Tensor) -> Tensor:
    """Softmax of one pass."""
    return segmenter(image).distribution.mean.softmax(1)


def ours(segmenter: Segmenter, image: Tensor, passes: int) -> Answer:
    """Mean and variance `[1, C, *spatial]`: over the 8 flips, or over all 48 symmetries of the cube."""
    augmented = Augmented(segmenter, symmetries={8: "flips", 48: "cube"}[passes])

    def run() -> tuple[Tensor, Tensor]:
        moments = augmented(image).distribution.moments()
        return moments.probability, moments.variance

    return run


def monai(segmenter: Segmenter, image: Tensor, passes: int, *, everything: bool) -> Answer:
    """The same over the 8 flips, repeated: with its mode and volume variation, or from the stack it returns instead."""
    theirs = TestTimeAugmentation(
        Compose([NextFlipd(axis) for axis in range(3)]),
        batch_size=1,
        # The flips to undo travel with the answer.
        inferrer_fn=lambda batch: MetaTensor(probability(segmenter, batch.as_tensor())).copy_meta_from(batch),
        orig_key="image",
        nearest_interp=False,
        return_full_data=not everything,
        progress=False,
    )

    def run() -> tuple[Tensor, Tensor]:
        answer = theirs({"image": MetaTensor(image[0])}, num_examples=passes)
        if everything:
            return answer[1].as_tensor()[None], answer[2].as_tensor()[None].square() * (passes - 1) / passes
        return answer.as_tensor().mean(0)[None], answer.as_tensor().var(0, unbiased=False)[None]

    return run


def answer(name: str, passes: int, segmenter: Segmenter, image: Tensor) -> Callable[[], object]:
    """One of `RUNS`."""
    if name == PLAIN:
        return lambda: probability(segmenter, image)
    if name == OURS:
        return ours(segmenter, image, passes)
    return monai(segmenter, image, passes, everything=name == STOCK)


def measure(name: str, passes: int, size: int, repeats: int) -> dict[str, float]:
    """Least seconds of a few runs (by the clock, and of CPU) and the rise of memory above that of a loaded network.

    In a process of its own.
    """
    segmenter, image, times = network(), torch.randn(1, 1, size, size, size), []
    with torch.inference_mode():
        probability(segmenter, image[..., :16, :16, :16])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run = answer(name, passes, segmenter, image)
        for _ in range(repeats):
            start = time.perf_counter(), time.process_time()
            run()
            times.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, cpu = (min(column) for column in zip(*times, strict=True))
    return {"seconds": clock, "cpu": cpu, "mb": (peak - before) / 1024}


def agreement() -> float:
    """Largest difference of mean or variance between both, over 8 flips of a small image."""
    segmenter, image = network(), torch.randn(1, 1, 32, 32, 32)
    with torch.inference_mode():
        both = ours(segmenter, image, 8)(), monai(segmenter, image, 8, everything=True)()
    return max((a - b).abs().max().item() for a, b in zip(*both, strict=True))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--run", type=int, choices=range(len(RUNS)), help="measure one row and print it as JSON")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.run is not None:
        print(json.dumps(measure(*RUNS[options.run], options.size, options.repeats)))
        return
    console.print(f"{options.size}^3 voxels, 3 classes; {machine()}")
    rows, base = [], None
    for index, (name, passes) in enumerate(RUNS):
        settings = [f"--{key}={getattr(options, key)}" for key in ("size", "threads", "repeats")]
        command = [sys.executable, str(Path(__file__).resolve()), f"--run={index}", *settings]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        base = base or found["cpu"]
        seconds = f"{found['seconds']:.2f}", f"{found['cpu']:.2f}", f"{found['cpu'] / base:.1f}x"
        rows.append([name, str(passes), *seconds, f"{found['mb']:.0f}"])
    columns = ["run", "passes", "s", "CPU s", "CPU", "peak MB above the network"]
    show("Mean and variance over passes", columns, rows)
    console.print(f"mean and variance over 8 flips differ by at most {agreement():.1e} between ours and MONAI's")


if __name__ == "__main__":
    main()
