r"""All shipped models anew, in order, in one command: trained, calibrated, installed, their cards filled in.

    python Testing/benchmarks/retrain.py train --data DATA --phantoms PHANTOMS --calibration-phantoms OF_SEED_1 \
        --ultrasound HEADS
    python Testing/benchmarks/retrain.py install
    python Testing/benchmarks/results.py --data DATA --phantoms PHANTOMS --cache runs/results_anew
    python Testing/benchmarks/retrain.py cards --cache runs/results_anew

Each model is done once: a run that was killed goes on where it was, inside a training too. Calibrations are made on the
same cases, by the same map, as those that are there. `models/` stays as it is until `install`. `--keep-weights` trains
nothing: where the recipe is what it was, only windows, what is fitted and calibrations are made anew. The cards of the
ultrasound models are filled in by hand, from `uncertaintyseg evaluate`.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common import console, told
from results import HIPPOCAMPUS, PARTS, PHANTOM, SPLITS, line

from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import (
    CALIBRATION,
    INFERENCE,
    METADATA,
    SHIFT,
    TRAINING,
    WEIGHTS,
    Bundle,
    config_text,
)
from uncertaintyseg.inference.calibrating import calibrate, write_calibration
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.training.fit import complete, fit
from uncertaintyseg.training.recipe import Recipe

SHIPPED = Path(__file__).resolve().parents[2] / "models"
_SIZE = re.compile(r'("(?:window|spatial_shape)": )\[[^\]]*\]')


def in_order(names: Sequence[str]) -> list[str]:
    """Each model after the one that it starts from."""
    found: list[str] = []

    def add(name: str) -> None:
        initial = _recipe(SHIPPED / name).get("initial")
        if initial:
            add(initial)
        if name not in found:
            found.append(name)

    for name in sorted(names):
        add(name)
    return found


def _recipe(folder: Path) -> dict[str, Any]:
    return json.loads((folder / TRAINING).read_text(encoding="utf-8"))["recipe"]


def source(name: str, output: Path, changes: dict[str, Any]) -> Bundle:
    """The configuration that a model is trained with: windows of the size of its crops, backbones with the changes."""
    ignored = shutil.ignore_patterns(WEIGHTS.name, CALIBRATION.name, SHIFT.name)
    folder = shutil.copytree(SHIPPED / name, output / "sources" / name, ignore=ignored, dirs_exist_ok=True)
    config = json.loads((folder / TRAINING).read_text(encoding="utf-8"))
    if config["recipe"]["stage"] == "backbone" and changes:
        config["recipe"] |= changes
        (folder / TRAINING).write_text(config_text(config), encoding="utf-8")
    crop = json.dumps(config["recipe"]["crop"])
    for part in (INFERENCE, METADATA):
        text = (folder / part).read_text(encoding="utf-8")
        (folder / part).write_text(_SIZE.sub(lambda found: found[1] + crop, text), encoding="utf-8")
    return Bundle.load(folder)


def kept(bundle: Bundle, parts: dict[str, list[Case]], output: Path) -> dict[str, Any] | None:
    """Give a model the weights that are shipped, but what is solved for, which windows change, anew.

    None for a head that is solved for as a whole.
    """
    head = bundle.network(weights=False).head
    if head.fitted:
        return None
    folder = shutil.copytree(bundle.folder, output / bundle.name, dirs_exist_ok=True)
    (folder / WEIGHTS).parent.mkdir(exist_ok=True)
    shutil.copy(SHIPPED / bundle.name / WEIGHTS, folder / WEIGHTS)
    if not head.completed:
        return {"weights": "kept"}
    found = complete(Bundle.load(folder), parts["train"], parts["validation"], progress=told(bundle.name))
    return {"weights": "kept", "fitted": found}


def trained(bundle: Bundle, parts: dict[str, list[Case]], options: argparse.Namespace) -> dict[str, Any]:
    """Train a model and say how it went."""
    recipe = Recipe.load(bundle, epochs=options.epochs)
    found = fit(bundle, parts["train"], parts["validation"], options.output, recipe=recipe, progress=told(bundle.name))
    return {
        "best_epoch": found.best_epoch,
        "validation": found.validation,
        "minutes": round(found.seconds / 60, 1),
        "volumes": found.volumes.as_json() if found.volumes else None,
    }


def retrain(name: str, parts: dict[str, list[Case]], calibration: list[Case], options: argparse.Namespace) -> None:
    """Train and calibrate one model, each only if it is not done."""
    done = options.output / "done" / f"{name}.json"
    report = json.loads(done.read_text(encoding="utf-8")) if done.is_file() else {}
    if not report:
        bundle = source(name, options.output, options.recipe)
        report = kept(bundle, parts, options.output) if options.keep_weights else None
        report = report or trained(bundle, parts, options)
        done.parent.mkdir(parents=True, exist_ok=True)
        done.write_text(json.dumps(report, indent=1), encoding="utf-8")
        console.print(f"{name}: {report}")
    bundle = Bundle.load(options.output / name)
    if not (bundle.folder / CALIBRATION).is_file():
        old = json.loads((SHIPPED / name / CALIBRATION).read_text(encoding="utf-8"))
        found = calibrate(Predictor(bundle), calibration, told(name), data=old["data"], by=old["measure"])
        write_calibration(bundle, found)
        console.print(f"{name}: calibrated on {len(calibration)} cases")


def train(options: argparse.Namespace) -> None:
    """Train and calibrate what is not done yet."""
    torch.set_num_threads(options.threads)
    folders = {
        "hippocampus": (options.data, None),
        "phantom": (options.phantoms, options.calibration_phantoms),
        "ultrasound": (options.ultrasound, None),
    }
    for task, (folder, calibration) in folders.items():
        names = [path.name for path in SHIPPED.iterdir() if path.name.startswith(f"{task}_")]
        wanted = in_order([name for name in names if not options.models or name in options.models])
        if folder is None or not wanted:
            console.print(f"{task}: left out, for want of a folder" if wanted else f"{task}: none asked for")
            continue
        cases = {case.id: case for case in read_cases(folder)}
        split = read_split(SPLITS.get(task, task))
        parts = {part: [cases[i] for i in ids][: options.cases] for part, ids in split.items()}
        apart = read_cases(calibration) if calibration else [cases[i] for i in split["calibration"]]
        apart = apart[: options.cases and max(options.cases, 10)]
        for name in wanted:
            retrain(name, parts, apart, options)


def install(options: argparse.Namespace) -> None:
    """Put what is trained and calibrated in the place of the shipped models; cards stay."""
    for done in sorted((options.output / "done").glob("*.json")):
        name = done.stem
        for part in (INFERENCE, METADATA, TRAINING):
            shutil.copy(options.output / "sources" / name / part, SHIPPED / name / part)
        for part in (WEIGHTS, CALIBRATION, SHIFT):
            (SHIPPED / name / part).unlink(missing_ok=True)
            if (options.output / name / part).is_file():
                shutil.copy(options.output / name / part, SHIPPED / name / part)
        console.print(f"installed {name}")


def cards(options: argparse.Namespace) -> None:
    """Write the figures of `results.py` into the cards; what they say in words is read over by hand."""
    for task, rows in (("hippocampus", HIPPOCAMPUS), ("phantom", PHANTOM)):
        plain = {row.model: row for row in reversed(rows) if row.method is None and not row.crf}  # of two the first
        for row in plain.values():
            card = SHIPPED / row.model / "docs" / "README.md"
            text = card.read_text(encoding="utf-8")
            chosen = None
            for part in PARTS:
                cached = options.cache / task / part / row.file
                if not cached.is_file():
                    continue
                result = json.loads(cached.read_text(encoding="utf-8"))
                chosen = row.only or chosen or result["best_map"]
                seconds = json.loads((options.cache / task / "seconds" / row.file).read_text(encoding="utf-8"))
                text = _filled(text, part, line(row, part, result, chosen, seconds), chosen)
            card.write_text(text, encoding="utf-8")


def _filled(text: str, part: str, figures: Sequence[str], chosen: str) -> str:
    """A card with the row of a part filled in; its columns are a choice of those of the results' table."""
    _, _, *dice, nll, ece, _, auroc, _, time_s, covered = figures[:11]
    found = re.search(rf"^\| {part} \| (\d+) \|.*$", text, re.MULTILINE)
    own = f"`{chosen}` {auroc.split()[0]}" if "errors at the border, AUROC" in text else time_s
    return text.replace(found[0], "| " + " | ".join([part, found[1], *dice, nll, ece, own, covered]) + " |")


def main() -> None:
    """Run one of the three steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=("train", "install", "cards"))
    parser.add_argument("--data", type=Path, help="the hippocampus cases")
    parser.add_argument("--phantoms", type=Path, help="100 phantoms of sample_data/make_phantoms.py, seed 0")
    parser.add_argument("--calibration-phantoms", type=Path, help="60 of them, seed 1")
    parser.add_argument("--ultrasound", type=Path, help="300 heads of sample_data/make_ultrasound.py, seed 0")
    parser.add_argument("--models", nargs="+", help="these and what they start from; by default all shipped")
    parser.add_argument(
        "--recipe", type=json.loads, default={}, help="of backbones, such as '{\"match_volumes\": true}'"
    )
    parser.add_argument("--keep-weights", action="store_true", help="anew only what windows change")
    parser.add_argument("--output", type=Path, default=Path("runs/retrained"))
    parser.add_argument("--cache", type=Path, default=Path("runs/results_anew"), help="of results.py, for the cards")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="for a try")
    parser.add_argument("--cases", type=int, help="of each part at most, for a try")
    options = parser.parse_args()
    {"train": train, "install": install, "cards": cards}[options.step](options)


if __name__ == "__main__":
    main()
