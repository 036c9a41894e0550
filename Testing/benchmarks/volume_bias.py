"""Which training leaves volumes unbiased: kinds of Dice, a penalty, windows and matched volumes, seed by seed.

Chosen on the validation part, confirmed on the calibration part; the test part is never read. "soft" is the Dice of all
models so far; the semimetric one is not in the list because for labels of 0 and 1 it is the same number (see
`training.region_losses`). Each line is written as it comes: a run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import console, show, told

from uncertaintyseg.data.layouts import Case, find_real_data, read_cases
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import INFERENCE, Bundle, find_bundle
from uncertaintyseg.inference.stream import MomentAverage, WindowLayout
from uncertaintyseg.metrics.intervals import mean_with_interval
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.loading import read_labelled
from uncertaintyseg.training.posterior import LabelledVolumes
from uncertaintyseg.training.recipe import Recipe
from uncertaintyseg.training.validation import averaged
from uncertaintyseg.training.volume_matching import match_volumes

VARIANTS: dict[str, dict[str, Any]] = {
    "soft": {},
    "squared": {"dice": "squared"},
    "cross_entropy": {"dice": "none"},
    "generalised": {"dice": "generalised"},
    "light_dice": {"dice_weight": 0.3},
    "volume": {"volume_weight": 0.1},
}
"""What each changes in the recipe."""
FREE = 0.001
"""Mean Dice that seeds differ by anyway: a variant that loses no more is not worse."""
COUNTS = ("true_positives", "false_positives", "misses")
Line = dict[str, Any]


class Results:
    """Lines of JSON of a model that are written as they come, and read when a run goes on."""

    def __init__(self, path: Path, model: str) -> None:
        self.path, self.model = path, model
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        self.lines: list[Line] = [json.loads(line) for line in text.splitlines() if line.endswith("}")]

    def find(self, **key: Any) -> Line | None:
        """The line with these values, if it is there."""
        return next((line for line in self.lines if key.items() <= line.items()), None)

    def add(self, line: Line) -> None:
        """Keep a line."""
        self.lines.append(line)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


def with_window(bundle: Bundle, window: Sequence[int], folder: Path) -> Bundle:
    """A copy of a bundle that predicts in other windows."""
    path = shutil.copytree(bundle.folder, folder / bundle.name, dirs_exist_ok=True)
    config = json.loads((path / INFERENCE).read_text(encoding="utf-8"))
    (path / INFERENCE).write_text(json.dumps(config | {"window": list(window)}, indent=4), encoding="utf-8")
    return Bundle.load(path)


def trained(model: Bundle, variant: str, seed: int, epochs: int | None, parts: dict, work: Path) -> tuple[Bundle, Line]:
    """The model of a variant and a seed, that predicts in windows of the size it was trained with; once only."""
    done = work / "fitted.json"
    if not done.is_file():
        recipe = Recipe.load(model, seed=seed, epochs=epochs, **VARIANTS[variant])
        source = with_window(model, recipe.crop, work / "source")
        report = fit(
            source, parts["train"], parts["validation"], work / "models", recipe=recipe, progress=told(work.name)
        )
        found = {"best_epoch": report.best_epoch, "epochs": report.epochs, "seconds": round(report.seconds, 1)}
        done.write_text(json.dumps(found), encoding="utf-8")
    return Bundle.load(work / "models" / model.name), json.loads(done.read_text(encoding="utf-8"))


def counted(bundle: Bundle, cases: Sequence[Case]) -> Iterator[Line]:
    """True and false positives and misses of each structure, case by case, in voxels of the model's grid."""
    network = bundle.network()
    layout, average = WindowLayout.of(bundle, network.divisor), MomentAverage(network, network.head.classes)
    volumes = LabelledVolumes(read_labelled(bundle, cases, "", lambda *_: None, kept=False), torch.device("cpu"))
    with torch.no_grad():
        for case, (image, label) in zip(cases, volumes, strict=True):
            found = averaged(image[0], network, average, layout)["probability"].argmax(0)
            ids, truth = range(1, network.head.classes), label[0, 0]
            both = [int(((found == c) & (truth == c)).sum()) for c in ids]
            yield {
                "id": case.id,
                "true_positives": both,
                "false_positives": [int((found == c).sum()) - n for c, n in zip(ids, both, strict=True)],
                "misses": [int((truth == c).sum()) - n for c, n in zip(ids, both, strict=True)],
            }


def measure(results: Results, model: Bundle, parts: dict, part: str, wanted: Sequence[Line], options: Any) -> None:
    """Train what is not trained yet, and count it on a part as it is and with matched volumes."""
    for key in wanted:
        if results.find(**key, part=part):
            continue
        work = options.work / model.name / f"{key['variant']}_{key['seed']}"
        bundle, line = trained(model, key["variant"], key["seed"], options.epochs, parts, work)
        if key["window"] == "large":
            bundle = with_window(bundle, [2 * side for side in bundle.setting("window")], work / "large")
        if key["matched"]:
            folder = work / f"matched_{key['window']}"
            bundle = with_window(bundle, bundle.setting("window"), folder)
            match = match_volumes(bundle, read_labelled(bundle, parts["validation"], "validation", lambda *_: None))
            line |= {"biases": match.biases, "kept": match.kept}
        results.add(key | {"part": part, "case_scores": list(counted(bundle, parts[part]))} | line)
        for row in rows([results.lines[-1]], bundle):
            console.print(f"{part}: {', '.join(row)}")


def figures(lines: Sequence[Line]) -> dict[str, np.ndarray]:
    """Dice, signed error of the volume, and shares of the true volume, `[cases, structures]`, means over seeds."""
    rows = [[[case[name] for name in COUNTS] for case in line["case_scores"]] for line in lines]
    tp, fp, fn = np.moveaxis(np.array(rows, dtype=float), 2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        true = np.where(tp + fn > 0, tp + fn, np.nan)
        found = {
            "dice": 2 * tp / (2 * tp + fp + fn),
            "error": (fp - fn) / true,
            "tp": tp / true,
            "fp": fp / true,
            "fn": fn / true,
        }
    return {name: values.mean(0) for name, values in found.items()}


def rows(lines: Sequence[Line], bundle: Bundle) -> list[list[str]]:
    """Rows of the table, one a structure: Dice, error of volume and shares."""
    first, found = lines[0], figures(lines)
    name = first["variant"] + ("" if first["window"] == "crop" else ", windows twice as large")
    name, seeds = name + (" + matched" if first["matched"] else ""), ", ".join(str(line["seed"]) for line in lines)
    made = []
    for s, label in enumerate(bundle.labels):
        dice, error = (mean_with_interval(100 * found[what][:, s]) for what in ("dice", "error"))
        shares = " / ".join(f"{100 * np.nanmean(found[what][:, s]):.1f}" for what in ("tp", "fp", "fn"))
        figure = f"{dice.mean:.2f} ({dice.lo:.2f} to {dice.hi:.2f})"
        made.append(
            [name, seeds, label.name, figure, f"{error.mean:+.1f} ({error.lo:+.1f} to {error.hi:+.1f})", shares]
        )
    return made


def groups(results: Results, part: str) -> dict[tuple, list[Line]]:
    """Lines of a part by all but their seed."""
    found: dict[tuple, list[Line]] = {}
    for line in results.lines:
        if line["part"] == part and line["model"] == results.model:
            found.setdefault((line["variant"], line["window"], line["matched"]), []).append(line)
    return found


def chosen(results: Results) -> tuple:
    """The least largest mean error of a volume among those that lose no Dice against "soft" on the validation part."""
    scores = {key: figures(lines) for key, lines in groups(results, "validation").items()}
    plain = scores.get(("soft", "crop", False))
    enough = -1 if plain is None else np.nanmean(plain["dice"]) - FREE
    kept = {key: found for key, found in scores.items() if np.nanmean(found["dice"]) >= enough}
    return min(kept, key=lambda key: np.abs(np.nanmean(kept[key]["error"], 0)).max())


def table(results: Results, part: str, bundle: Bundle) -> None:
    """Print what there is of a part."""
    shares = "found / false / missed, % of true"
    columns = ["variant", "seeds", "structure", "Dice, %", "volume error, %", shares]
    show(part, columns, [row for lines in groups(results, part).values() for row in rows(lines, bundle)])


def main() -> None:
    """Measure what is missing, print the tables, choose and confirm."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="hippocampus_deterministic", help="whose network and recipe")
    parser.add_argument("--data", type=Path, default=find_real_data("msd_hippocampus"), help="folder of its cases")
    parser.add_argument("--split", default="msd_hippocampus", help="by name (msd_hippocampus, phantom) or JSON file")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--epochs", type=int, help="by default the recipe's")
    parser.add_argument("--output", type=Path, default=Path("runs/volume_bias.jsonl"), help="lines of JSON")
    parser.add_argument("--work", type=Path, default=Path("runs/volume_bias"), help="where the models are kept")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    if options.data is None:
        parser.error("the cases are not beside the checkout: name their folder with --data")
    torch.set_num_threads(options.threads)
    cases = {case.id: case for case in read_cases(options.data)}
    parts = {part: [cases[i] for i in ids] for part, ids in read_split(options.split).items() if part != "test"}
    model = find_bundle(options.model)
    results = Results(options.output, model.name)
    wanted = [
        {"model": model.name, "variant": variant, "seed": seed, "window": window, "matched": matched}
        for seed in options.seeds
        for variant in options.variants
        for window, matched in (("crop", False), ("crop", True), *([("large", False)] if variant == "soft" else []))
    ]
    measure(results, model, parts, "validation", wanted, options)
    table(results, "validation", model)
    best = chosen(results)
    console.print(f"chosen on the validation part: {best}")
    confirmed = [
        key for key in wanted if (key["variant"], key["window"], key["matched"]) in (best, ("soft", "crop", False))
    ]
    measure(results, model, parts, "calibration", confirmed, options)
    table(results, "calibration", model)


if __name__ == "__main__":
    main()
