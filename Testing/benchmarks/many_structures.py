"""Table, regions, curve and scores of many structures in a CT: boxes walked once, beside whole arrays a structure."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator

import numpy as np
from common import console, machine, show
from scipy import ndimage

from uncertaintyseg import wire
from uncertaintyseg.active.acquisition import case_scores
from uncertaintyseg.inference.volumes import Block, BoxVolume
from uncertaintyseg.review.coverage import review_curve
from uncertaintyseg.review.existing_label import label_error, review_label
from uncertaintyseg.review.regions import LEVELS, regions
from uncertaintyseg.review.structures import POSSIBLE, Drawn, structure_table

SPACING = (0.75, 0.75, 1.5)
SPECKS = 40
"""Voxels far from each structure where a network says that it may be."""


def scan(shape: tuple[int, int, int], count: int) -> tuple[np.ndarray, dict[str, BoxVolume], list[wire.Label]]:
    """A label of ragged ellipsoids in a body, and their probabilities as an inference gives them, in blocks."""
    rng = np.random.default_rng(0)
    labels = [wire.Label(id=i, name=f"structure {i}", rgb=(1, 2, 3)) for i in range(1, count + 1)]
    label, probabilities = np.zeros(shape, np.uint8), {}
    for item in labels:
        radius = rng.uniform(8, 45, 3) / SPACING
        centre = rng.uniform(0.2, 0.8, 3) * shape
        box = tuple(
            slice(max(int(c - 1.4 * r), 0), min(int(c + 1.4 * r) + 1, size))
            for c, r, size in zip(centre, radius, shape, strict=True)
        )
        axes = (
            ((np.arange(part.start, part.stop, dtype=np.float32) - c) / r)
            for part, c, r in zip(box, centre, radius, strict=True)
        )
        distance = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True)))
        rough = ndimage.gaussian_filter(rng.standard_normal(distance.shape, dtype=np.float32), 1.5)
        p = 1 / (1 + np.exp(25 * (distance - 1) - 8 * rough))
        p[label[box] > 0] *= 0.02  # what another structure has taken is hardly this one
        label[box][p > 0.5] = item.id
        blocks = [Block(tuple(part.start for part in box), np.where(p < 1 / 65535, 0, p).astype(np.float32))]
        blocks += [
            Block(tuple(int(i) for i in voxel), np.full((1, 1, 1), 0.25, np.float32))
            for voxel in rng.integers(0, shape, (SPECKS, 3))
            if any(not part.start <= i < part.stop for i, part in zip(voxel, box, strict=True))
        ]
        probabilities[item.name] = BoxVolume(shape, blocks)
    return label, probabilities, labels


def plain_table(label: np.ndarray, inside: np.ndarray, p: np.ndarray) -> Iterator[float]:
    """Of one structure, over whole arrays."""
    wrong = np.where(inside, 1 - p, p)
    yield float(inside.sum())
    yield float(wrong.sum(where=wrong >= POSSIBLE, dtype=np.float64))
    yield float(p[inside].sum(dtype=np.float64)) + float(p.sum(dtype=np.float64))


def plain_regions(label: np.ndarray, inside: np.ndarray, p: np.ndarray) -> Iterator[float]:
    """Of one structure, over whole arrays."""
    doubted = (np.where(inside, 1 - p, p) >= LEVELS[0]) & (inside | (label == 0))
    yield float(ndimage.label(doubted)[1])


def plain_scores(label: np.ndarray, inside: np.ndarray, p: np.ndarray) -> Iterator[float]:
    """Of one structure: a distance transform on its box."""
    box = tuple(
        slice(max(part.start - 4, 0), part.stop + 4) for part in ndimage.find_objects(inside.astype(np.uint8))[0]
    )
    near = ndimage.distance_transform_edt(~inside[box], sampling=SPACING) <= 3
    yield float(p[box][near].mean())


def timed(run: Callable[[], object]) -> tuple[float, object]:
    """Seconds, and what came out."""
    start = time.perf_counter()
    found = run()
    return time.perf_counter() - start, found


def once_a_structure(
    plain: Callable[[np.ndarray, np.ndarray, np.ndarray], Iterator[float]],
    label: np.ndarray,
    probabilities: dict[str, BoxVolume],
    labels: list[wire.Label],
    some: int,
) -> float:
    """Seconds for all structures, from some of those that are there."""
    there = [item for item in labels if (label == item.id).any()][:some]

    def run() -> None:
        for item in there:
            list(plain(label, label == item.id, np.asarray(probabilities[item.name])))

    return timed(run)[0] * len(labels) / len(there)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", type=int, nargs=3, default=(512, 512, 300))
    parser.add_argument("--structures", type=int, default=117)
    parser.add_argument("--plain", type=int, default=3, help="structures that the once-a-structure way is timed on")
    options = parser.parse_args()
    console.print(machine())
    label, probabilities, labels = scan(tuple(options.shape), options.structures)
    affine, voxel_ml = np.diag([*SPACING, 1.0]), float(np.prod(SPACING)) / 1000
    kept = sum(block.values.nbytes for volume in probabilities.values() for block in volume.blocks)
    seconds, error = timed(lambda: label_error(label, probabilities, labels))
    base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rows = [["error probability", f"{seconds:.1f}", "-"]]
    given = label, probabilities, error, labels
    table_s, table = timed(lambda: structure_table(*given, voxel_ml, Drawn("none")))
    regions_s, _ = timed(lambda: regions(label, error, probabilities, labels, affine))
    curve_s, _ = timed(lambda: review_curve(error, voxel_ml, None))
    maps = dict.fromkeys(("predictive_entropy", "mutual_information", "variance"), error)
    scores_s, _ = timed(lambda: case_scores(maps, label, SPACING, table))
    edited = ndimage.grey_dilation(label, (3, 3, 1))
    review_s, _ = timed(lambda: review_label(edited, probabilities, labels, affine, own=label))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    plain = {
        name: f"{once_a_structure(way, label, probabilities, labels, options.plain):.0f}"
        for name, way in (("table", plain_table), ("regions", plain_regions), ("scores", plain_scores))
    }
    rows += [
        ["structure table", f"{table_s:.1f}", plain["table"]],
        ["regions", f"{regions_s:.1f}", plain["regions"]],
        ["risk-coverage curve", f"{curve_s:.1f}", "-"],
        ["scores of the case", f"{scores_s:.1f}", plain["scores"]],
        ["review of an edited label, whole", f"{review_s:.1f}", "-"],
    ]
    size = " x ".join(map(str, options.shape))
    title = f"{options.structures} structures, {size}; maps of boxes {kept / 1e9:.2f} GB"
    show(title, ["", "s", f"once a structure: s (from {options.plain})"], rows)
    console.print(f"Peak memory over that of label, maps and error probability: {(peak - base) / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
