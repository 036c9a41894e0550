"""Scoring a pool of scans: ours beside MONAI Label's epistemic scoring v2 (5 simulations), on the same backbone."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

import torch
from common import console, interleaved, machine, show
from monailabel.datastore.local import LocalDatastore
from monailabel.tasks.scoring.epistemic_v2 import EpistemicScoring
from next_image import reference_bundle, synthetic_ct
from stock_task import StockTask

from uncertaintyseg.data.phantom import write_phantoms
from uncertaintyseg.inference.bundle import Bundle, find_bundle
from uncertaintyseg.inference.predictor import Predictor

OURS, THEIRS = "ours, label and all maps kept", "epistemic v2, 5 simulations"


def scored(bundle: Bundle, images: Path, repeats: int) -> dict[str, float]:
    """Median seconds of both over a folder, in turns, after one warm-up each."""
    predictor = Predictor(bundle)
    scoring = EpistemicScoring(StockTask(bundle, simulation=True), simulation_size=5)

    def ours() -> None:
        for image in sorted(images.glob("*.nii.gz")):
            predictor.predict(image)

    def theirs() -> None:
        datastore = LocalDatastore(str(images), auto_reload=False)
        for image in datastore.list_images():
            datastore.update_image_info(image, {"epistemic_ts": 0})
        scoring({"device": "cpu", "max_workers": 1}, datastore)

    return interleaved({OURS: ours, THEIRS: theirs}, repeats)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    logging.disable(logging.INFO)
    console.print(f"{options.cases} scans; {machine()}")
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_phantoms(folder / "phantoms", count=options.cases, seed=1)
        (folder / "ct").mkdir()
        for index in range(options.cases):
            synthetic_ct(folder / "ct" / f"ct{index}.nii.gz", (96, 96, 72))
        pools = {
            "shipped phantom_low_rank, 3 classes, 64 x 64 x 33": (find_bundle("phantom_low_rank"), "phantoms/images"),
            "reference DynUNet, SSN head, 2 classes, 96 x 96 x 72": (reference_bundle(folder, "low_rank"), "ct"),
        }
        for title, (bundle, images) in pools.items():
            found = scored(bundle, folder / images, options.repeats)
            for run, seconds in found.items():
                rows.append([title, run, f"{seconds / options.cases:.2f}", f"{found[THEIRS] / seconds:.1f}x"])
    show("Scores of a pool", ["network and scans", "run", "s a case", "faster"], rows)


if __name__ == "__main__":
    main()
