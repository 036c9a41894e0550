"""Corrections that move the whole segmentation: the time that a click takes, and what it gains on real cases."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from common import console, machine, seconds, show
from scipy.ndimage import distance_transform_edt, label
from skimage.measure import find_contours

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.data.case_labels import read_case_label
from uncertaintyseg.data.geometry import spacing_mm, voxel_volume_ml
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.data.splitting import read_split
from uncertaintyseg.heads import make_head
from uncertaintyseg.inference.bundle import find_bundle
from uncertaintyseg.inference.conditioned import Click, ConditionedCase
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.state import InferenceState
from uncertaintyseg.measures import map_info, risk_maps
from uncertaintyseg.metrics.intervals import mean_with_interval
from uncertaintyseg.review.conditioning import ERROR, REACH_MM
from uncertaintyseg.review.enclosing import Box, Lasso
from uncertaintyseg.wire import Label, Provenance

HEADS = {
    "low_rank": {},
    "laplace": {},
    "laplace_low_rank": {},
    "mixture_of_bases": {},
    "single_basis": {},
    "single_basis, noise shared": {"noise": "volume"},
    "mixture_of_bases, noise shared": {"noise": "volume"},
}
"""Heads of the table; the amplitudes of the last two were trained as noise of single voxels."""
BALL_MM = 3.0
RANK, FEATURES, REPEATS = 16, 32, 7


def synthetic(size: int) -> ConditionedCase:
    """Two classes, a region of size^3, SSN of rank 16 on 32 smooth features; a third of the voxels in doubt."""
    torch.manual_seed(0)
    head = make_head("low_rank", features=FEATURES, classes=2, rank=RANK).eval()
    with torch.inference_mode():
        coarse = torch.randn(1, FEATURES, size // 8, size // 8, size // 8)
        features = torch.nn.functional.interpolate(coarse, size=(size,) * 3, mode="trilinear").half().float()
        head.mean.weight.mul_(20)
        head.factor.weight.mul_(4)
        head.log_variance.bias.fill_(-1.0)
        moments = head(features).distribution.moments()
        maps = {name: value[0, 0].numpy() for name, value in risk_maps(moments, ["organ"]).items()}
    region = (slice(0, size),) * 3
    state = InferenceState(features[0].half().numpy(), region, np.eye(4))
    provenance = Provenance(
        model="synthetic", head="low_rank", weights_checksum="", nodes=None, samples=None, seed=0, window=(size,) * 3,
        overlap=0.5, device="cpu", dtype="float32", code_version="", seconds={},
    )  # fmt: skip
    found = (moments.probability[0, 1] > 0.5).to(torch.uint8).numpy()
    info = {name: map_info(name, 2, "aleatoric") for name in maps}
    base = Prediction(found, np.eye(4), maps, info, [], provenance, 0.0, state)
    return ConditionedCase(head, base, [Label(id=1, name="organ", rgb=(200, 0, 0))])


def speed(size: int) -> None:
    """Print the time to a new label, to its maps and to everything else, of the first click and of later ones."""
    case = synthetic(size)
    doubt = case.base.maps["error_probability"]
    generator = np.random.default_rng(0)
    places = generator.permutation(np.argwhere(doubt > 0.4))[: REPEATS + 1]
    clicks = [Click(tuple(map(int, place)), 1 - int(case.base.label[tuple(place)])) for place in places]
    rows = []
    times: list[dict[str, float]] = []
    for count in range(1, len(clicks) + 1):
        corrected = case.given(clicks[:count])
        corrected.prediction()
        times.append(corrected.seconds | {"moved": float((corrected.label != case.base.label).sum())})
    later = {name: float(np.median([one[name] for one in times[1:]])) for name in times[0]}
    for title, one in (("first click", times[0]), (f"next clicks, median of {REPEATS}", later)):
        parts = [f"{1000 * one[name]:.0f}" for name in ("label", "maps", "samples", "review")]
        rows.append([title, *parts, f"{1000 * (one['label'] + one['maps']):.0f}", f"{one['moved']:.0f}"])
    painted = case.base.label.copy()

    def paint() -> None:
        painted[clicks[0].voxel] = clicks[0].label

    rows.append(["painting the voxel alone", f"{1000 * seconds(paint):.3f}", "-", "-", "-", "-", "1"])
    network = DynUNetBackbone.reference().eval()
    image = torch.randn(1, 1, size, size, size)
    with torch.inference_mode():
        again = seconds(lambda: network(image), repeats=1)
    rows.append(["running the network again (reference DynUNet)", f"{1000 * again:.0f}", "-", "-", "-", "-", "0"])
    columns = ["what", "label ms", "+ maps", "+ volume interval", "+ structures, regions", "label and maps", "moved"]
    show(f"{size}^3, rank {RANK}, two classes; {machine()}", columns, rows)


def worst(found: np.ndarray, reference: np.ndarray, spacing: tuple[float, ...]) -> Click | None:
    """The voxel furthest inside the largest connected piece of wrong voxels, as what it should be."""
    pieces, count = label(found != reference)
    if not count:
        return None
    piece = pieces == np.bincount(pieces.ravel())[1:].argmax() + 1
    depth = distance_transform_edt(np.pad(piece, 1), sampling=spacing)[1:-1, 1:-1, 1:-1]
    voxel = tuple(int(i) for i in np.unravel_index(depth.argmax(), depth.shape))
    return Click(voxel, int(reference[voxel]))


def ball(found: np.ndarray, click: Click, spacing: tuple[float, ...]) -> np.ndarray:
    """The label with a ball about the click painted."""
    index = np.stack(np.meshgrid(*map(np.arange, found.shape), indexing="ij"), -1)
    near = np.linalg.norm((index - click.voxel) * spacing, axis=-1) <= BALL_MM
    return np.where(near, click.label, found).astype(found.dtype)


def dice(found: np.ndarray, reference: np.ndarray) -> float:
    """Mean over the structures of the reference."""
    ids = np.unique(reference)[1:]
    overlap = [(found == i) & (reference == i) for i in ids]
    return float(
        np.mean(
            [2 * o.sum() / ((found == i).sum() + (reference == i).sum()) for o, i in zip(overlap, ids, strict=True)]
        )
    )


Row = dict[str, float]


def gains(head: str, options: dict[str, str], cases: list[Case], clicks: int, knobs: Row) -> Iterator[Row]:
    """What clicks gain in each case: the change of Dice and of wrong mL against the label before them."""
    predictor = Predictor(find_bundle(f"hippocampus_{head.partition(',')[0]}"))
    for name, value in options.items():
        setattr(predictor.network.head, name, value)
    for item in cases:
        base = predictor.predict(item.image)
        scan = read_scan(item.image)
        known = {structure.name: structure.id for structure in predictor.bundle.labels}
        reference = read_case_label(item, known, like=scan)[0].numpy()
        spacing, voxel_ml = spacing_mm(base.affine), voxel_volume_ml(base.affine)
        case = ConditionedCase(predictor.network.head, base, predictor.bundle.labels)
        given: list[Click] = []
        found = {"voxel": base.label.copy(), "ball": base.label, "click": base.label}
        took = []
        for _ in range(clicks):
            click = worst(found["click"], reference, spacing)
            if click is None:
                break
            given.append(click)
            start = time.perf_counter()
            corrected = case.given(given, **knobs)
            corrected.maps()
            took.append(time.perf_counter() - start)
            found["click"] = corrected.label
            for name in ("voxel", "ball"):
                other = worst(found[name], reference, spacing) or click
                painted = found[name].copy()
                painted[other.voxel] = other.label
                found[name] = painted if name == "voxel" else ball(found[name], other, spacing)
        yield {"seconds": float(np.median(took)), "shape": float(corrected.moved == "shape")} | {
            f"{what} {name}": value
            for name, after in found.items()
            for what, value in (
                ("dice", dice(after, reference) - dice(base.label, reference)),
                ("wrong", voxel_ml * float((after != reference).sum() - (base.label != reference).sum())),
            )
        }


def enclosed(head: str, options: dict[str, str], cases: list[Case], knobs: Row) -> Iterator[Row]:
    """What one correction gains in each case: a click, a lasso and boxes, and the latter without what they condition.

    All are about the largest wrong piece: the lasso goes around it on the slice through the click that shows most of
    it, the boxes around the true structure, on that slice and as a whole.
    """
    predictor = Predictor(find_bundle(f"hippocampus_{head.partition(',')[0]}"))
    for name, value in options.items():
        setattr(predictor.network.head, name, value)
    for item in cases:
        base = predictor.predict(item.image)
        known = {structure.name: structure.id for structure in predictor.bundle.labels}
        reference = read_case_label(item, known, like=read_scan(item.image))[0].numpy()
        case = ConditionedCase(predictor.network.head, base, predictor.bundle.labels)
        plain = ConditionedCase(predictor.network.head, replace(base, state=None), predictor.bundle.labels)
        click = worst(base.label, reference, spacing_mm(base.affine))
        lassos, axis = around(base.label, reference, click)
        structure = int(base.label[click.voxel]) or click.label
        corrections = {
            "click": ([click],),
            "lasso": ([], lassos),
            "flat box": ([], [], [box_around(reference == structure, structure, (axis, click.voxel[axis]))]),
            "box": ([], [], [box_around(reference == structure, structure)]),
        }
        row: Row = {}
        for name, given in corrections.items():
            for how, one in (("", case), (" alone", plain)):
                after = one.given(*given, **knobs).label
                wrong = (after != reference).sum() - float((base.label != reference).sum())
                row[f"wrong {name}{how}"] = voxel_volume_ml(base.affine) * wrong
                row[f"dice {name}{how}"] = dice(after, reference) - dice(base.label, reference)
        yield row


def around(found: np.ndarray, reference: np.ndarray, click: Click) -> tuple[list[Lasso], int]:
    """A lasso around the clicked wrong piece on the slice through the click that shows most of it, and its axis."""
    pieces, _ = label(found != reference)
    piece = (pieces == pieces[click.voxel]) & (reference == click.label)
    slices = [np.take(piece, click.voxel[axis], axis) for axis in range(3)]
    axis = int(np.argmax([part.sum() for part in slices]))
    across = [a for a in range(3) if a != axis]
    on, _ = label(slices[axis])
    mine = np.pad(on == on[tuple(np.array(click.voxel)[across])], 1)
    outline = max(find_contours(mine.astype(float), 0.5), key=len)[:-1] - 1
    corners = np.empty((len(outline), 3))
    corners[:, across], corners[:, axis] = outline, click.voxel[axis]
    return [Lasso(click.label, tuple(map(tuple, corners.clip(-0.5, None).tolist())))], axis


def box_around(structure: np.ndarray, class_id: int, on: tuple[int, int] | None = None) -> Box:
    """The smallest box around a structure, as a whole or on a slice, given as axis and index."""
    voxels = np.argwhere(structure)
    if on is not None and (voxels[:, on[0]] == on[1]).any():
        voxels = voxels[voxels[:, on[0]] == on[1]]
    return Box(class_id, tuple(voxels.min(0).tolist()), tuple(voxels.max(0).tolist()))


def one_correction(cases: list[Case], knobs: Row) -> None:
    """Print what one click, lasso or box gains, by head."""
    rows = []
    for head, options in HEADS.items():
        found = list(enclosed(head, options, cases, knobs))
        for name in ("click", "lasso", "flat box", "box"):
            row = [head, name]
            for what in ("dice", "wrong"):
                for how in ("", " alone"):
                    mean, lo, hi = mean_with_interval([f[f"{what} {name}{how}"] for f in found])
                    row.append(f"{mean:+.4f} [{lo:+.4f}, {hi:+.4f}]")
            better = np.mean([f[f"wrong {name}"] < f[f"wrong {name} alone"] for f in found])
            rows.append([*row, "-" if name.endswith("box") else f"{better:.0%}"])  # boxes only cut
    columns = ["head", "correction", "Dice", "Dice, painted alone", "wrong mL", "wrong mL, painted alone", "better"]
    show(f"one correction of the worst region, {len(cases)} cases of the hippocampus, {knobs}", columns, rows)


def real(folder: Path, part: str, limit: int, clicks: int, knobs: dict[str, float]) -> None:
    """Print what clicks in the worst regions gain on real cases, by head."""
    cases = cases_of(folder, part, limit)
    rows = []
    for head, options in HEADS.items():
        found = list(gains(head, options, cases, clicks, knobs))
        row = [
            head,
            "shape" if found[0]["shape"] else "voxel",
            f"{1000 * np.median([f['seconds'] for f in found]):.0f}",
        ]
        for what in ("dice", "wrong"):
            for name in ("voxel", "ball", "click"):
                mean, lo, hi = mean_with_interval([f[f"{what} {name}"] for f in found])
                row.append(f"{mean:+.4f} [{lo:+.4f}, {hi:+.4f}]")
        better = np.mean([f["wrong click"] < f["wrong voxel"] for f in found])
        rows.append([*row, f"{better:.0%}"])
    columns = ["head", "moves", "ms"] + [
        f"{what}, {name}"
        for what in ("Dice", "wrong mL")
        for name in ("voxel painted", "3 mm ball painted", "conditioned")
    ]
    title = f"{clicks} click(s) in the worst region, {len(cases)} {part} cases of the hippocampus, {knobs}"
    show(title, [*columns, "better than painting"], rows)


def cases_of(folder: Path, part: str, limit: int) -> list[Case]:
    """The first cases of a part of the data."""
    wanted = read_split("msd_hippocampus")[part][:limit]
    return [case for case in read_cases(folder) if case.id in wanted]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=96, help="voxels on each axis of the region that is timed")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, help="msd_hippocampus, for the table of gains")
    parser.add_argument("--part", default="test")
    parser.add_argument("--cases", type=int, default=20)
    parser.add_argument("--clicks", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--reach-mm", type=float, default=REACH_MM)
    parser.add_argument("--error", type=float, default=ERROR)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    console.width = 220
    speed(options.size)
    knobs = {"reach_mm": options.reach_mm, "error": options.error}
    if options.data:
        one_correction(cases_of(options.data, options.part, options.cases), knobs)
    for clicks in options.clicks if options.data else ():
        real(options.data, options.part, options.cases, clicks, knobs)


if __name__ == "__main__":
    main()
