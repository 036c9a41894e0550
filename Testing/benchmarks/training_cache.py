"""Cases of a training in memory, on disk, or read anew each time: seconds a step, and peak anonymous memory.

    python Testing/benchmarks/training_cache.py                # made CT of 256 x 256 x 128
    python Testing/benchmarks/training_cache.py --data DATA

Each way in a process of its own, one after another, on a model that `uncertaintyseg plan` writes for the data. Pages of
memory-mapped files are not counted: the system takes them back when it needs room.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from common import machine, show
from fingerprint import write_bodies
from memory import peak

from uncertaintyseg.data.dataset import read_dataset
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.planning.bundle import write_plan
from uncertaintyseg.planning.fingerprint import take_fingerprint
from uncertaintyseg.planning.overrides import Overrides
from uncertaintyseg.planning.plan import make_plan
from uncertaintyseg.training.case_cache import hold
from uncertaintyseg.training.loading import as_tensors, read_labelled, reseed, training_loader
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.schedule import make_optimizer

WAYS = {
    "memory": "memory",
    "disk": "disk, the first time",
    "again": "disk, the second time",
    "none": "none",
}


def write_model(data: Path, folder: Path, patch: tuple[int, ...], steps: int) -> Path:
    """A small network, so that the cases and not the network are what is measured."""
    given = Overrides(patch=patch, features=8, batch_size=2, steps=steps, epochs=1)
    found = take_fingerprint(read_dataset(data), cache=None)
    return write_plan(make_plan(found, "bench", overrides=given), found, folder).folder


def alone(way: str, data: Path, model: Path, cases: Path, steps: int) -> dict[str, float | str]:
    """One way in this process."""
    torch.set_num_threads(1)
    bundle = Bundle.load(model)
    recipe = Recipe.load(bundle)
    on_disk = way in ("disk", "again")
    torch.manual_seed(0)
    network = bundle.network(weights=False).train()
    loss, optimizer = HeadLoss(recipe.objective), make_optimizer(list(network.parameters()), recipe)
    with peak() as most:
        start = time.perf_counter()
        labelled = [case for case in read_dataset(data).cases if case.label]
        held = hold(bundle, labelled, "disk" if on_disk else way, cases if on_disk else None)
        items = read_labelled(bundle, labelled, "training", lambda *_: None, voxels=True, held=held)
        loader = training_loader(bundle, items, recipe.model_copy(update={"steps_per_epoch": steps}))
        reseed(loader, 0)
        ready = time.perf_counter()
        for batch in loader:
            image, label = as_tensors(batch, torch.device("cpu"))
            optimizer.zero_grad()
            loss(network(image), label).backward()
            optimizer.step()
        done = time.perf_counter()
    last = float(sum(value.double().abs().sum() for value in network.state_dict().values()))
    return {"reading": ready - start, "step": (done - ready) / steps, "weights": last, **most}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with images/ and labels/")
    parser.add_argument("--bodies", type=int, default=8, help="how many to make where no data are given")
    parser.add_argument("--patch", type=int, nargs=3, default=(48, 48, 32))
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--alone", nargs=4, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.alone:
        way, *folders = given.alone
        print(json.dumps(alone(way, *map(Path, folders), given.steps)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        data = given.data or Path(scratch) / "bodies"
        if given.data is None:
            write_bodies(data, given.bodies)
        model = write_model(data, Path(scratch) / "models", tuple(given.patch), given.steps)
        found = {}
        for way in WAYS:
            folders = [str(data), str(model), str(Path(scratch) / "cases")]
            command = [sys.executable, __file__, "--alone", way, *folders, "--steps", str(given.steps)]
            ended = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
            found[way] = json.loads(ended.stdout.splitlines()[-1])
    rows = [
        [name, f"{row['reading']:.1f}", f"{row['step']:.2f}", f"{row['peak_gb']:.2f}"]
        for name, row in ((WAYS[way], row) for way, row in found.items())
    ]
    same = len({row["weights"] for row in found.values()}) == 1
    title = f"{data.name}, patches of {' x '.join(map(str, given.patch))}, {machine()}"
    show(title, ["cases", "seconds until ready", "seconds a step", "peak memory, GB"], rows)
    print(f"weights after {given.steps} steps: {'the same' if same else 'DIFFERENT'}")


if __name__ == "__main__":
    main()
