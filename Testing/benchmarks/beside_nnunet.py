"""Ours beside nnU-Net itself: the same patch, batch, network, steps, split, spacing, threads and seeds, on one CPU.

Each training runs in a process of its own, which its memory is read from, and is written down as a line of JSON when it
is done: a run that was killed goes on with the next one. Both normalise by z-scores, load and augment in the process
that trains and predict the same test cases without mirroring. nnU-Net keeps its last weights, ours those that validated
best.

"ours" is the recipe of the shipped model; "ours_planned" has nnU-Net's optimiser, patches, loss and deep supervision.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

SIDES: dict[str, dict[str, Any]] = {
    "nnunet": {},
    "ours": {},
    "ours_planned": {
        "optimizer": "sgd",
        "learning_rate": 0.01,
        "weight_decay": 3e-5,
        "clip": 12.0,
        "foreground": 0.33,
        "deep_supervision": True,
    },
}
"""Who trains, and what ours changes in its recipe."""
TASKS = {"hippocampus": "msd_hippocampus", "phantom": "phantom"}


def peak_memory() -> float:
    """The most memory that this process has held, in MiB."""
    held = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return held / (2**20 if sys.platform == "darwin" else 2**10)


def dice(label: np.ndarray, reference: np.ndarray, structures: int) -> list[float]:
    """Dice of each structure; 1 where neither has it."""
    found = []
    for i in range(1, structures + 1):
        own, true = label == i, reference == i
        found.append(float(2 * (own & true).sum() / (own.sum() + true.sum())) if own.any() or true.any() else 1.0)
    return found


def ours(settings: dict[str, Any], work: Path) -> dict[str, Any]:
    """Train with ours as the settings say and predict the test cases: Dice of each and what it took."""
    import torch
    from nnunet_side import Clock, clock, step_seconds

    from uncertaintyseg.data.case_labels import read_case_label
    from uncertaintyseg.data.layouts import Case
    from uncertaintyseg.inference.bundle import INFERENCE, Bundle, find_bundle
    from uncertaintyseg.inference.predictor import Predictor
    from uncertaintyseg.training.fit import fit
    from uncertaintyseg.training.recipe import Recipe

    torch.set_num_threads(settings["threads"])
    shutil.rmtree(work, ignore_errors=True)
    model = find_bundle(settings["model"])
    folder = shutil.copytree(model.folder, work / "source" / model.name)
    config = json.loads((folder / INFERENCE).read_text(encoding="utf-8"))
    config["window"] = settings["patch"]
    config["preprocessing"]["transforms"][-1] = {"_target_": "NormalizeIntensityd", "keys": "image"}
    (folder / INFERENCE).write_text(json.dumps(config), encoding="utf-8")
    parts = {
        part: [Case(case["id"], Path(case["image"]), Path(case["label"])) for case in settings[part]]
        for part in ("train", "validation", "test")
    }
    ends: dict[str, list[Clock]] = {}

    def progress(stage: str, fraction: float) -> None:
        if stage.startswith("epoch "):
            ends.setdefault(stage.split(",", maxsplit=1)[0], []).append(clock())

    bundle = Bundle.load(folder)
    recipe = Recipe.load(
        bundle,
        crop=settings["patch"],
        batch_size=settings["batch"],
        epochs=settings["epochs"],
        steps_per_epoch=settings["steps_per_epoch"],
        patience=settings["epochs"],
        seed=settings["seed"],
        **SIDES[settings["side"]],
    )
    start = time.perf_counter()
    report = fit(bundle, parts["train"], parts["validation"], work / "models", recipe=recipe, progress=progress)
    seconds, memory = time.perf_counter() - start, peak_memory()
    predictor, ids, found = Predictor(report.bundle), {label.name: label.id for label in bundle.labels}, {}
    for case in parts["test"]:
        reference = read_case_label(case, ids)[0].numpy()
        found[case.id] = dice(np.asarray(predictor.predict(case.image).label), reference, len(ids))
    return {
        "dice": found,
        **step_seconds(list(ends.values())),
        "steps": sum(map(len, ends.values())),
        "seconds": seconds,
        "peak_memory": memory,
        "threads": torch.get_num_threads(),
        "parameters": sum(p.numel() for p in report.bundle.network().parameters()),
        "deep_supervision": recipe.deep_supervision,
    }


def child(settings_file: Path) -> None:
    """One training: settings in, result beside them."""
    settings = json.loads(settings_file.read_text(encoding="utf-8"))
    if settings["side"] in ("prepare", "nnunet"):
        from nnunet_side import run

        found = run(settings, settings_file.parent / "nnunet")
    else:
        found = ours(settings, settings_file.parent / settings["side"])
    settings_file.with_suffix(".result").write_text(json.dumps(found), encoding="utf-8")


def measured(settings: dict[str, Any], work: Path) -> dict[str, Any]:
    """Run one training in a process of its own."""
    work.mkdir(parents=True, exist_ok=True)
    file = work / f"{settings['side']}.json"
    file.write_text(json.dumps(settings), encoding="utf-8")
    threads = str(settings["threads"])
    environment = os.environ | {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "OPENBLAS_NUM_THREADS": threads}
    log = file.with_suffix(".log")
    with log.open("w") as written:
        ended = subprocess.run(
            [sys.executable, __file__, "--child", str(file)], env=environment, stdout=written, stderr=subprocess.STDOUT
        )
    if ended.returncode:
        raise SystemExit(f"{settings['side']} failed, its last words:\n{log.read_text()[-2000:]}")
    return json.loads(file.with_suffix(".result").read_text(encoding="utf-8"))


def settings_of(task: str, options: argparse.Namespace, data: Path) -> dict[str, Any]:
    """What all sides share."""
    from uncertaintyseg.data.layouts import read_cases
    from uncertaintyseg.data.splitting import read_split
    from uncertaintyseg.inference.bundle import find_bundle
    from uncertaintyseg.training.recipe import Recipe

    model, cases = find_bundle(f"{task}_deterministic"), {case.id: case for case in read_cases(data)}
    parts = {}
    for part, ids in read_split(options.split or TASKS[task]).items():
        kept = [cases[i] for i in ids[: options.cases]]
        parts[part] = [{"id": case.id, "image": str(case.image), "label": str(case.label)} for case in kept]
    recipe = Recipe.load(model)
    return {
        "task": task,
        "model": model.name,
        "structures": [label.name for label in model.labels],
        "filters": list(model.config["network_def"]["backbone"]["filters"]),
        "spacing": list(model.setting("spacing")),
        "patch": list(recipe.crop),
        "batch": recipe.batch_size,
        "epochs": options.epochs or recipe.epochs,
        "steps_per_epoch": options.steps_per_epoch or -(-len(parts["train"]) // recipe.batch_size),
        "threads": options.threads,
        **{part: parts[part] for part in ("train", "validation", "test")},
    }


def table(lines: Sequence[dict[str, Any]], task: str) -> None:
    """Print each training, and each side over its seeds beside nnU-Net."""
    from common import machine, show

    from uncertaintyseg.metrics.intervals import mean_with_interval

    rows, kept = [], [line for line in lines if line["task"] == task]
    for side in SIDES:
        own = [line for line in kept if line["side"] == side]
        groups = [[line] for line in own] + ([own] if len(own) > 1 else [])
        for group in groups:
            values = np.mean([[line["dice"][i] for i in sorted(line["dice"])] for line in group], axis=0) * 100
            intervals = [mean_with_interval(structure) for structure in values.T]
            keys = ("step_seconds", "step_processor_seconds", "peak_memory")
            seconds, processor, memory = (np.mean([line[key] for line in group]) for key in keys)
            rows.append(
                [
                    side,
                    ", ".join(str(line["seed"]) for line in group),
                    *(f"{mean:.2f} ({lo:.2f} to {hi:.2f})" for mean, lo, hi in intervals),
                    f"{1000 * seconds:.0f}",
                    f"{1000 * processor:.0f}",
                    f"{memory:.0f}",
                    f"{np.mean([line['seconds'] for line in group]) / 60:.1f}",
                    f"{group[0]['steps']} x {group[0]['threads']} threads",
                ]
            )
    if rows:
        names = [f"Dice {name}, %" for name in kept[0]["structures"]]
        show(
            f"{task}, {machine()}",
            ["side", "seeds", *names, "ms / step", "CPU ms", "peak MiB", "minutes", "steps"],
            rows,
        )


def main() -> None:
    """Train what is missing, in turns, and print the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=["hippocampus"])
    parser.add_argument("--data", type=Path, help="the hippocampus cases; by default those beside the checkout")
    parser.add_argument("--phantoms", type=Path, help="phantoms of sample_data/make_phantoms.py, seed 0")
    parser.add_argument("--split", help="instead of the committed one")
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, help="by default the recipe's")
    parser.add_argument("--steps-per-epoch", type=int, help="by default every case once")
    parser.add_argument("--cases", type=int, help="of each part at most, for a try")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/beside_nnunet.jsonl"))
    options = parser.parse_args()
    if options.child:
        child(options.child)
        return
    from uncertaintyseg.data.layouts import find_real_data

    folders = {"hippocampus": options.data or find_real_data("msd_hippocampus"), "phantom": options.phantoms}
    lines = []
    if options.output.is_file():
        lines = [json.loads(line) for line in options.output.read_text().splitlines() if line.endswith("}")]
    with tempfile.TemporaryDirectory() as work:
        for task in options.tasks:
            if folders[task] is None:
                parser.error(f"the cases of {task} are not beside the checkout: name their folder")
            shared = settings_of(task, options, folders[task])
            for seed in options.seeds:
                for side in options.sides:
                    if any((line["task"], line["side"], line["seed"]) == (task, side, seed) for line in lines):
                        continue
                    if side == "nnunet" and not (Path(work) / task / "prepare.result").is_file():
                        measured(shared | {"side": "prepare"}, Path(work) / task)
                    found = measured(shared | {"side": side, "seed": seed}, Path(work) / task)
                    about = {key: shared[key] for key in ("task", "structures", "patch", "batch", "epochs", "filters")}
                    lines.append(about | {"side": side, "seed": seed} | found)
                    options.output.parent.mkdir(parents=True, exist_ok=True)
                    with options.output.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(lines[-1]) + "\n")
                    table(lines, task)
            table(lines, task)


if __name__ == "__main__":
    main()
