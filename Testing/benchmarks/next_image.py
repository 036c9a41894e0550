"""Time to the next image by stage: ours, with every risk map, beside MONAI Label's chain, with a label only.

The same network (reference DynUNet, random weights), the same windows, a CT of 256 x 256 x 128 voxels. Process start
and imports are told apart.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import torch
from common import console, machine, show
from scipy.ndimage import gaussian_filter

from uncertaintyseg.inference.bundle import INFERENCE, METADATA, Bundle, find_bundle
from uncertaintyseg.inference.weights import save_weights

SHAPE, SPACING = (256, 256, 128), (1.5, 1.5, 2.0)
STAGES = ("read", "network", "samples", "maps", "review", "store")
IMPORTS = {
    "ours: the worker": "import uncertaintyseg.inference.predictor",
    "ours: the server": "import monailabel_app.asgi",
    "MONAI Label's app": "import monailabel.app, monailabel.tasks.infer.basic_infer",
}


def reference_bundle(folder: Path, head: str) -> Bundle:
    """The phantom's bundle with the reference DynUNet, two classes and random weights."""
    source = find_bundle(f"phantom_{head}")
    config = json.loads((source.folder / INFERENCE).read_text(encoding="utf-8"))
    metadata = json.loads((source.folder / METADATA).read_text(encoding="utf-8"))
    reference = "uncertaintyseg.backbones.DynUNetBackbone.reference"
    config["network_def"] |= {"classes": 2, "backbone": {"_target_": reference}}
    config |= {"window": [96, 96, 96], "overlap": 0.25, "spacing": SPACING}
    metadata["uncertainty"]["labels"] = metadata["uncertainty"]["labels"][:1]
    for name, values in ((INFERENCE, config), (METADATA, metadata)):
        path = folder / f"reference_{head}" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    bundle = Bundle.load(folder / f"reference_{head}")
    torch.manual_seed(0)
    bundle.weights.parent.mkdir(exist_ok=True)
    save_weights(bundle.network(weights=False), bundle.weights)
    return Bundle.load(bundle.folder)


def synthetic_ct(path: Path, shape: tuple[int, ...] = SHAPE) -> None:
    """A soft-tissue blob in noise, int16 HU, compressed as scanners' archives are."""
    generator = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    body = (np.square(grid) / np.array([0.8, 0.6, 1.2]).reshape(3, 1, 1, 1)).sum(0) < 1
    noise = gaussian_filter(generator.standard_normal(shape, dtype=np.float32), 0.8) * 40
    values = np.where(body, 40 + noise, -1000 + noise / 4).astype(np.int16)
    nib.Nifti1Image(values, np.diag([*SPACING, 1.0])).to_filename(path)


def ours(bundle: Bundle, image: Path, folder: Path) -> dict[str, float]:
    """Seconds of each stage, the files in the result store included."""
    from monailabel_app.jobs.results import ResultStore
    from uncertaintyseg.inference.predictor import Predictor

    predictor, store = Predictor(bundle), ResultStore(folder / "results")
    start = time.perf_counter()
    prediction = predictor.predict(image)
    predicted = time.perf_counter()
    store.put("0" * 64, prediction, bundle.labels)
    end = time.perf_counter()
    return {**prediction.seconds, "store": end - predicted, "total": end - start}


def theirs(bundle: Bundle, image: Path) -> dict[str, float]:
    """Latencies as MONAI Label reports them."""
    from stock_task import StockTask

    task = StockTask(bundle)
    _, answer = task({"image": str(image), "device": "cpu", "result_extension": ".nii.gz", "result_dtype": "uint8"})
    return {name: value for name, value in answer["latencies"].items() if name != "transform"}


def import_seconds(statement: str) -> float:
    """Wall time of a fresh interpreter up to there."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, nargs=3, default=SHAPE, help="voxels of the scan")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console.print(f"{' x '.join(map(str, options.size))} voxels; {machine()}")
    show("Process start and imports", ["what", "s"], [[k, f"{import_seconds(v):.1f}"] for k, v in IMPORTS.items()])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image = folder / "ct.nii.gz"
        synthetic_ct(image, tuple(options.size))
        rows = []
        for head in ("deterministic", "low_rank"):
            found = ours(reference_bundle(folder, head), image, folder / head)
            rest = 1 - found["network"] / found["total"]
            stages = ", ".join(f"{stage} {found[stage]:.1f}" for stage in STAGES if stage in found)
            rows.append([f"ours, {head}: label and maps", stages, f"{found['total']:.1f}", f"{rest:.0%}"])
        found = theirs(reference_bundle(folder, "deterministic"), image)
        rest = 1 - found["infer"] / found["total"]
        stages = ", ".join(f"{stage} {value:.1f}" for stage, value in found.items() if stage != "total")
        rows.append(["MONAI Label: label", stages, f"{found['total']:.1f}", f"{rest:.0%}"])
    show("Time to the next image, s", ["chain", "stages", "total", "not the network"], rows)


if __name__ == "__main__":
    main()
