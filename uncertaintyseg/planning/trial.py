"""A real step of a plan, in a process of its own: what it takes in memory and time."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Events
from monai.utils import set_determinism

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.planning.bundle import model_name, write_files
from uncertaintyseg.planning.choices import Choice
from uncertaintyseg.planning.fingerprint import Fingerprint
from uncertaintyseg.planning.plan import Plan, TooLargeError, Trial
from uncertaintyseg.planning.steps import Steps
from uncertaintyseg.startup import import_monai_lightly
from uncertaintyseg.training.deep import supervised
from uncertaintyseg.training.epochs import make_trainer
from uncertaintyseg.training.fit import loader_threads
from uncertaintyseg.training.loading import reseed, training_loader
from uncertaintyseg.training.loss import make_loss
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.steps import AHEAD

try:
    import resource
except ImportError:  # Windows, which has no such number
    resource = None

_STEPS = 3
"""The first one prepares, the fastest of the others counts."""
_LARGEST = 2**25
"""Voxels of the scans that it is made with."""
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")
_ANSWER = "uncertaintyseg trial: "


def try_step(plan: Plan, fingerprint: Fingerprint) -> Trial | None:
    """Train a few steps on noise of the planned size, as `train` does: its augmentation, its loss, its readouts.

    Returns:
        None where the budget is of a GPU and there is none here.

    Raises:
        TooLargeError: there is not enough memory.
        InputError: the step fails for another reason.
    """
    if plan.budget.device == "cuda" and not torch.cuda.is_available():
        return None
    # The largest patch of the scan's own size: what lies around it costs little.
    share = min((_LARGEST / math.prod(plan.shape)) ** (1 / 3), 1.0)
    shape = [max(round(size * share), side) for size, side in zip(plan.shape, plan.patch, strict=True)]
    with tempfile.TemporaryDirectory(prefix="uncertaintyseg-plan-") as scratch:
        folder = Path(scratch) / model_name(plan.task)
        draft = replace(plan, length=Steps(1, 1, 1), choices=[Choice("draft", "", "", None)])
        write_files(folder, draft, fingerprint)
        asked = {"folder": str(folder), "shape": shape, "device": plan.budget.device}
        ended = subprocess.run(  # noqa: S603 - itself
            [sys.executable, "-m", "uncertaintyseg.planning.trial", json.dumps(asked)],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    answer = next((line for line in ended.stdout.splitlines() if line.startswith(_ANSWER)), None)
    if answer:
        return Trial(**json.loads(answer.removeprefix(_ANSWER)))
    if ended.returncode < 0 or any(words in ended.stderr.casefold() for words in _NO_MEMORY):
        raise TooLargeError
    last = ended.stderr.strip().splitlines()[-1:] or ["no message"]
    raise InputError(f"a real step of this plan failed ({last[0]}): choose another --patch or --features.")


def _run(asked: dict[str, Any]) -> dict[str, float]:
    """In the other process."""
    bundle, device = Bundle.load(asked["folder"]), torch.device(asked["device"])
    # More steps than are made, so that the patches of the next ones are made ready beside them, as in a long fit.
    recipe = Recipe.load(bundle).model_copy(update={"steps_per_epoch": _STEPS + AHEAD})
    set_determinism(recipe.seed)
    network = bundle.network(weights=False).to(device)
    cases = [
        {
            "image": torch.randn(len(bundle.channels), *asked["shape"]),
            "label": torch.randint(network.head.classes, (1, *asked["shape"])).float(),
        }
        for _ in range(2)
    ]
    learner, loss = supervised(network, make_loss(network, recipe, cases), recipe)
    loader = training_loader(bundle, cases, recipe, threads=loader_threads(asked["device"]))
    reseed(loader, recipe.seed)
    trainer, seconds, start = make_trainer(learner, recipe, asked["device"], loader, loss), [], time.perf_counter()

    @trainer.on(Events.ITERATION_COMPLETED)
    def clock() -> None:
        nonlocal start
        trainer.state.output["loss"].item()  # a GPU has come to its end
        now = time.perf_counter()
        seconds.append(now - start)
        start = now
        if len(seconds) == _STEPS:
            trainer.terminate()

    trainer.run()
    peak = _peak(device)
    image = torch.randn(1, len(bundle.channels), *recipe.crop, device=device)
    network.eval()
    with torch.no_grad():
        network(image).distribution.moments()
        start = time.perf_counter()
        network(image).distribution.moments()
        if device.type == "cuda":
            torch.cuda.synchronize()
        window = time.perf_counter() - start
    return {"step_seconds": min(seconds[1:]), "window_seconds": window, "peak": peak}


def _peak(device: Any) -> int:
    """Bytes of the process at its largest: on a GPU what is reserved there, and CUDA's own."""
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        return max(
            torch.cuda.max_memory_reserved(device), min(total - free, torch.cuda.max_memory_reserved(device) + 10**9)
        )
    try:  # not getrusage, whose number begins with that of the process that started this one
        return int(Path("/proc/self/status").read_text(encoding="ascii").split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):  # not Linux
        pass
    if resource is None:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    import_monai_lightly()
    print(_ANSWER + json.dumps(_run(json.loads(sys.argv[1]))))  # noqa: T201 - its answer
