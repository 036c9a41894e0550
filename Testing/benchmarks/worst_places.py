"""What regions, expected Dice, intervals and flags are worth on reference labels; figures of docs/review.md."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from common import show
from rich.progress import track
from scipy import ndimage
from scipy.stats import spearmanr

from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.geometry import voxel_volume_ml
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.regions import LEVELS
from uncertaintyseg.wire import Region


def voxels(region: Region, prediction: Prediction, structures: dict[str, int]) -> np.ndarray:
    """The voxels of a region `[X, Y, Z]`: its box and size say at which level it was cut out."""
    names = list(structures)
    likeliest = np.argmax([np.asarray(prediction.maps[f"probability_{name}"]) for name in names], axis=0)
    owner = np.where(prediction.label > 0, prediction.label, np.array(list(structures.values()))[likeliest])
    size = round(region.volume_ml / voxel_volume_ml(prediction.affine))
    for level in LEVELS:
        doubted = np.asarray(prediction.maps["error_probability"]) >= level
        numbers, _ = ndimage.label((owner == structures[region.structure]) & doubted)
        found = (numbers == numbers[region.ijk]) & (numbers > 0)
        if found.sum() == size:
            return found
    raise SystemExit(f"region {region.rank} is not found again in the maps")


class Counted:
    """Sums over cases of what the model says, beside what is true."""

    def __init__(self, structures: dict[str, int]) -> None:
        self.structures = structures
        self.kinds: Counter[str] = Counter()
        self.wrong = self.foreground = self.doubted = 0
        self.regions: list[tuple[float, int]] = []
        self.rows: list[tuple[float, float, float, str]] = []

    def add(self, prediction: Prediction, reference: np.ndarray) -> None:
        """One case."""
        wrong, ml = prediction.label != reference, voxel_volume_ml(prediction.affine)
        self.wrong += int(wrong.sum())
        self.foreground += int((reference > 0).sum())
        for region in prediction.regions:
            inside = voxels(region, prediction, self.structures)
            self.kinds[region.kind] += 1
            self.doubted += int(inside.sum())
            self.regions.append((region.expected_error_ml / ml, int(wrong[inside].sum())))
        for row in prediction.structures:
            own, true = prediction.label == row.id, reference == row.id
            low, high = row.volume_ml_95 or (np.nan, np.nan)
            overlap = 2 * float((own & true).sum()) / float(own.sum() + true.sum())
            self.rows.append((overlap, row.expected_dice or np.nan, (high - low) / row.volume_ml, row.flag or ""))

    def show(self, title: str) -> None:
        """Print both tables."""
        expected, counted = np.array(self.regions, dtype=float).T
        figures = [
            ["regions", f"{len(self.regions)}: " + ", ".join(f"{n} {kind}" for kind, n in self.kinds.most_common())],
            ["share of the wrong voxels that they hold", f"{counted.sum() / self.wrong:.0%}"],
            ["their volume, of the foreground", f"{self.doubted / self.foreground:.0%}"],
            ["wrong voxels expected in them, counted", f"{expected.sum():.0f}, {counted.sum():.0f}"],
            ["rank correlation of expected and counted", f"{spearmanr(expected, counted)[0]:.2f}"],
        ]
        dice, said, width, flags = (np.array(column) for column in zip(*self.rows, strict=True))
        figures += [
            ["structures; Dice from, to, mean", f"{len(dice)}; {dice.min():.2f}, {dice.max():.2f}, {dice.mean():.3f}"],
            ["expected Dice, mean; rank correlation", f"{said.mean():.3f}; {spearmanr(said, dice)[0]:.2f}"],
            ["width of intervals / volume, mean", f"{np.nanmean(width):.2f}"],
            ["rank correlation of width and Dice", f"{spearmanr(width, dice)[0]:.2f}"],
        ]
        for flag in sorted({part for row in flags for part in row.split("; ") if part}):
            with_it = sorted(float(d) for d, row in zip(dice, flags, strict=True) if flag in row)
            figures.append([f"flag: {flag}", f"{len(with_it)}: Dice " + ", ".join(f"{d:.2f}" for d in with_it)])
        show(title, ["figure", "value"], figures)


def main() -> None:
    """Run the model over the cases and print what came true."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="labelled data set")
    parser.add_argument("--cases", default="msd_hippocampus:validation", help="SPLIT:PART")
    parser.add_argument("--model", default="hippocampus_low_rank")
    options = parser.parse_args()
    bundle = find_bundle(options.model)
    ids = {label.name: label.id for label in bundle.labels}
    split, _, part = options.cases.rpartition(":")
    predictor, found, cases = Predictor(bundle), Counted(ids), {case.id: case for case in read_cases(options.data)}
    for case in track([cases[i] for i in read_split(split)[part]], options.model):
        reference = read_case_label(case, ids, like=read_scan(case.image))[0].numpy()
        found.add(predictor.predict(case.image), reference)
    found.show(f"{bundle.name}, {options.cases}")


if __name__ == "__main__":
    main()
