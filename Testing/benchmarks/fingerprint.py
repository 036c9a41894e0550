"""The fingerprint of a data set, ours beside nnU-Net's on the same files: seconds, peak memory, and whether both agree.

    python Testing/benchmarks/fingerprint.py --data DATA      # images/ and labels/, one channel
    python Testing/benchmarks/fingerprint.py --bodies 8        # made CT of 256 x 256 x 128

Each runs in processes of its own; memory is that of all of them together, pages that they share counted once.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from common import show

from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.planning.fingerprint import take_fingerprint

NAME = "Dataset999_Fingerprint"
WAYS = {
    "nnunet": "nnU-Net's DatasetFingerprintExtractor",
    "ours": "ours",
    "chosen": "ours, workers as chosen",
    "again": "ours, measured before",
}


def lay_out(data: Path, folder: Path) -> None:
    """The cases of a data set as nnU-Net wants them, by links."""
    dataset = read_dataset(data)
    raw = folder / "raw" / NAME
    for name in ("imagesTr", "labelsTr"):
        (raw / name).mkdir(parents=True)
    cases = [case for case in dataset.cases if case.label]
    for case in cases:
        (raw / "imagesTr" / f"{case.id}_0000.nii.gz").symlink_to(case.image.resolve())
        (raw / "labelsTr" / f"{case.id}.nii.gz").symlink_to(case.label.resolve())
    described = {
        "channel_names": {"0": "image"},
        "labels": {"background": 0} | {label.name: label.id for label in dataset.labels},
        "numTraining": len(cases),
        "file_ending": ".nii.gz",
    }
    (raw / "dataset.json").write_text(json.dumps(described))


def write_bodies(folder: Path, count: int) -> None:
    """Noisy ellipsoids in a noisy cylinder in air, in Hounsfield units: what a CT is to a fingerprint."""
    shape, spacing = (256, 256, 128), (0.8, 0.8, 1.5)
    x, y, z = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij", sparse=True)
    for number in range(count):
        rng = np.random.default_rng(number)
        label = np.zeros(shape, np.uint8)
        for organ in range(1, 4):
            centre, half = rng.uniform(-0.4, 0.4, 3), rng.uniform(0.1, 0.4, 3)
            inside = sum(((axis - c) / h) ** 2 for axis, c, h in zip((x, y, z), centre, half, strict=True)) < 1
            label[inside] = organ
        image = np.where(x**2 + y**2 < 0.8, 0, -1000) + 40 * label + rng.normal(0, 20, shape)
        write_volume(folder / "images" / f"case_{number:03d}.nii.gz", image.round(), np.diag([*spacing, 1]))
        write_volume(folder / "labels" / f"case_{number:03d}.nii.gz", label, np.diag([*spacing, 1]))


def alone(way: str, folder: Path, workers: int) -> dict:
    """One way in this process."""
    start = time.perf_counter()
    found = nnunet(workers) if way == "nnunet" else ours(folder, None if way == "chosen" else workers)
    return {"seconds": time.perf_counter() - start, **found}


def nnunet(workers: int) -> dict:
    from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor

    extractor = DatasetFingerprintExtractor(NAME, num_processes=workers)
    extractor.show_progress_bar = False
    found = extractor.run(overwrite_existing=True)
    (channel,) = found["foreground_intensity_properties_per_channel"].values()
    return {
        "spacings": [list(map(float, spacing[::-1])) for spacing in found["spacings"]],
        "shapes": [list(map(int, shape[::-1])) for shape in found["shapes_after_crop"]],
        "channel": [channel[key] for key in ("percentile_00_5", "median", "percentile_99_5", "mean", "std")],
    }


def ours(folder: Path, workers: int | None) -> dict:
    found = take_fingerprint(read_dataset(folder / "raw" / NAME), cache=folder / "cache", workers=workers)
    (channel,) = found.channels
    return {
        "spacings": found.spacings.tolist(),
        "shapes": found.shapes.tolist(),
        "channel": [channel.low, channel.median, channel.high, channel.mean, channel.std],
    }


def watched(way: str, folder: Path, workers: int) -> dict:
    """One way in a process of its own, with the memory of it and all that it starts."""
    places = {name: str(folder / part) for name, part in
              (("nnUNet_raw", "raw"), ("nnUNet_preprocessed", "made"), ("nnUNet_results", "results"))}  # fmt: skip
    command = [sys.executable, __file__, "--alone", way, str(folder), "--workers", str(workers)]
    with tempfile.TemporaryFile("w+") as output:
        process = psutil.Popen(command, stdout=output, env=os.environ | places)
        most = 0
        while process.poll() is None:
            most = max(most, memory(process))
            time.sleep(0.5)  # looking takes time itself, of those who are looked at too
        output.seek(0)
        if process.returncode:
            sys.exit(f"{way} failed with {process.returncode}")
        return json.loads(output.read().splitlines()[-1]) | {"bytes": most}


def memory(process: psutil.Process) -> int:
    """Bytes of a process and its children, as far as they are still there."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return sum(share(one) for one in (process, *process.children(recursive=True)))
    return 0


def share(process: psutil.Process) -> int:
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        info = process.memory_full_info()
        return getattr(info, "pss", info.uss)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--bodies", type=int, default=8, help="how many to make where no data are given")
    parser.add_argument("--workers", type=int, default=2, help="processes of either")
    parser.add_argument("--alone", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        way, folder = given.alone
        print(json.dumps(alone(way, Path(folder), given.workers)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder, data = Path(scratch) / "bench", given.data
        if data is None:
            data = Path(scratch) / "bodies"
            write_bodies(data, given.bodies)
        lay_out(data, folder)
        found = {}
        for way in WAYS:
            if way == "chosen":
                subprocess.run(["rm", "-rf", str(folder / "cache")], check=True)
            found[way] = watched(way, folder, given.workers)
    theirs = found["nnunet"]
    rows = [[WAYS[way], f"{row['seconds']:.1f}", f"{row['bytes'] / 1e9:.2f}"] for way, row in found.items()]
    show(f"{len(theirs['shapes'])} cases, {given.workers} workers", ["", "seconds", "peak memory, GB"], rows)
    names = ["0.5 %", "median", "99.5 %", "mean", "SD"]
    rows = [
        [
            WAYS[way],
            *(f"{value:.6g}" for value in found[way]["channel"]),
            middle(found[way]),
        ]
        for way in ("nnunet", "ours")
    ]
    show("intensities in the structures, and the median spacing", ["", *names, "mm"], rows)
    same = {key: np.allclose(theirs[key], found["ours"][key], rtol=1e-5) for key in ("spacings", "shapes")}
    print(", ".join(f"{key} of all cases {'agree' if is_same else 'DIFFER'}" for key, is_same in same.items()))


def middle(found: dict) -> str:
    return " x ".join(f"{value:.4g}" for value in np.median(found["spacings"], axis=0))


if __name__ == "__main__":
    main()
