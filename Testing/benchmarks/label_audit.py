"""Does `uncertaintyseg audit` find the labels that are wrong? Real labels, damaged in known ways, ranked by a model.

Half of the cases get one structure damaged; every row case x structure whose voxels changed counts as damaged. The rest
are the labels of the data set as they are. Printed are the AUROC of the rankings over rows, the share of damaged cases
whose worst region is at the damage, and the shares of damaged and other rows with a flag: means, ranges over draws of
structures, cases and planes. `--picture` draws the six worst places of one draw of all kinds of damage.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from common import console, show
from rich.progress import track
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from uncertaintyseg.cli.audit_picture import WorstViews, views_of
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.label_map import read_label_map
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.inference.audit import ORDERS, audit
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.review.existing_label import LabelReview, review_label

SHARE = 0.25
Damage = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def eroded(label: np.ndarray, structure: int, _: np.random.Generator) -> np.ndarray:
    """One voxel of its surface is background."""
    inside = label == structure
    return np.where(inside & ~ndimage.binary_erosion(inside), 0, label)


def dilated(label: np.ndarray, structure: int, _: np.random.Generator) -> np.ndarray:
    """It has one voxel more of the background all around."""
    return np.where(ndimage.binary_dilation(label == structure) & (label == 0), structure, label)


def lobe_deleted(label: np.ndarray, structure: int, rng: np.random.Generator) -> np.ndarray:
    """A quarter of it, cut off by a random plane, is background."""
    voxels = np.argwhere(label == structure)
    along = voxels @ rng.normal(size=3)
    damaged = label.copy()
    damaged[tuple(voxels[along > np.quantile(along, 1 - SHARE)].T)] = 0
    return damaged


def swapped(label: np.ndarray, structure: int, _: np.random.Generator) -> np.ndarray:
    """The quarter of it that is nearest to another structure carries that one's id."""
    others = [i for i in np.unique(label) if i not in (0, structure)]
    distance = {i: ndimage.distance_transform_edt(label != i) for i in others}
    nearest = min(others, key=lambda i: distance[i][label == structure].mean())
    inside = label == structure
    near = distance[nearest] <= np.quantile(distance[nearest][inside], SHARE)
    return np.where(inside & near, nearest, label)


DAMAGES: dict[str, Damage] = {"eroded": eroded, "dilated": dilated, "lobe deleted": lobe_deleted, "swapped": swapped}


class Cases:
    """Reference labels of real cases, and what a model says of their scans."""

    def __init__(self, predictor: Predictor, data: Path, part: str) -> None:
        self.labels = predictor.bundle.labels
        ids = {item.name: item.id for item in self.labels}
        cases = {case.id: case for case in read_cases(data)}
        self.rows: list[tuple[np.ndarray, dict[str, np.ndarray], np.ndarray]] = []
        name, _, part = part.rpartition(":")
        self.cases: list[Case] = [cases[i] for i in read_split(name)[part]]
        for case in track(self.cases, "predicting"):
            prediction = predictor.predict(case.image, samples=2)
            label = read_case_label(case, ids, like=read_scan(case.image))[0].numpy()
            maps = {name: prediction.maps[f"probability_{name}"] for name in ids}
            self.rows.append((label, maps, prediction.affine))

    def review(self, index: int, label: np.ndarray | None = None) -> LabelReview:
        """Review a case's own label, or another in its place."""
        reference, maps, affine = self.rows[index]
        return review_label(reference if label is None else label, maps, self.labels, affine)


def risks(rows: list[dict[str, Any]], key: Callable[[dict[str, Any]], Any]) -> list[int]:
    """A number for each row that is larger the earlier the order has it; rows that are alike have the same."""
    keys = [key(row) for row in rows]
    places = {value: place for place, value in enumerate(sorted(set(keys), reverse=True))}
    return [places[value] for value in keys]


def one_draw(cases: Cases, clean: list[LabelReview], damage: Damage, seed: int) -> dict[str, float]:
    """AUROC by each order, shares of damaged and other rows with a flag, and how often the worst region is damaged."""
    rng = np.random.default_rng(seed)
    chosen = set(rng.permutation(len(clean))[: len(clean) // 2].tolist())
    rows: list[tuple[bool, dict[str, Any]]] = []
    places = []
    for index, review in enumerate(clean):
        label = reference = cases.rows[index][0]
        if index in chosen:
            label = damage(reference, int(rng.choice([item.id for item in cases.labels])), rng)
            review = cases.review(index, label)  # noqa: PLW2901
            places.append(bool((label != reference)[review.regions[0].ijk]))
        for row in review.structures:
            damaged = bool(((label == row.id) != (reference == row.id)).any())
            rows.append((damaged, row.model_dump()))
    wrong = [damaged for damaged, _ in rows]
    scores = {name: float(roc_auc_score(wrong, risks([row for _, row in rows], key))) for name, key in ORDERS.items()}
    flags = {
        title: float(np.mean([row["flag"] is not None for damaged, row in rows if damaged == which]))
        for title, which in (("flagged", True), ("false alarm", False))
    }
    return {**scores, "place": float(np.mean(places)), **flags}


def picture(cases: Cases, predictor: Predictor, path: Path) -> None:
    """Damage half of the labels, one way after the other, and draw the six worst places that an audit finds."""
    rng, ways, damaged = np.random.default_rng(0), cycle(DAMAGES.items()), {}
    chosen = set(rng.permutation(len(cases.cases))[: len(cases.cases) // 2].tolist())
    with tempfile.TemporaryDirectory() as folder:
        for part in ("images", "labels"):
            (Path(folder) / part).mkdir()
        for index, (case, (label, _, affine)) in enumerate(zip(cases.cases, cases.rows, strict=True)):
            shutil.copy(case.image, Path(folder) / "images" / f"{case.id}.nii.gz")
            if index in chosen:
                name, damage = next(ways)
                label = damage(label, int(rng.choice([item.id for item in cases.labels])), rng)  # noqa: PLW2901
                damaged[case.id] = name
            image = nib.Nifti1Image(label.astype(np.uint8), affine)
            nib.save(image, Path(folder) / "labels" / f"{case.id}.nii.gz")
        views = WorstViews()
        names = read_label_map([], [item.name for item in cases.labels])
        found = audit(predictor, read_cases(Path(folder)), names, keep=views_of, take=lambda _, kept: views.take(kept))
    views.draw(path)
    worst = dict.fromkeys((place["case"], place["structure"]) for place in found["regions"])
    shown = [f"{case} {structure}: {damaged.get(case, 'sound')}" for case, structure in list(worst)[:6]]
    console.print(f"{path}, in order: {'; '.join(shown)}")


def main() -> None:
    """Print the table of docs/review.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="labelled data set")
    parser.add_argument("--cases", default="msd_hippocampus:validation", help="SPLIT:PART")
    parser.add_argument("--model", default="hippocampus_low_rank")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--picture", type=Path, help="PNG file to draw in")
    options = parser.parse_args()
    predictor = Predictor(find_bundle(options.model))
    cases = Cases(predictor, options.data, options.cases)
    clean = [cases.review(index) for index in range(len(cases.rows))]
    columns = [*ORDERS, "place", "flagged", "false alarm"]
    rows = []
    for name, damage in DAMAGES.items():
        draws = [one_draw(cases, clean, damage, seed) for seed in track(range(options.draws), name)]
        figures = {key: [draw[key] for draw in draws] for key in columns}
        rows.append([name, *(f"{np.mean(v):.2f} ({min(v):.2f}-{max(v):.2f})" for v in figures.values())])
    show(f"{options.model}, {len(clean)} cases, {options.draws} draws", ["damage", *columns], rows)
    if options.picture:
        picture(cases, predictor, options.picture)


if __name__ == "__main__":
    main()
