"""Every score of a case, with every head, against numpy: a score that is finite but wrong ranks cases wrongly."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.active.acquisition import ACQUISITIONS, FOREGROUND, NEAR_MM, of_structure
from uncertaintyseg.data.geometry import spacing_mm
from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.prediction import Prediction
from uncertaintyseg.inference.predictor import Predictor

VARIANTS = [
    *((head, {}) for head in sorted(HEADS)),
    ("mixture_of_bases", {"noise": "volume"}),
    ("mixture_of_bases", {"noise": "cube"}),
    ("dropout", {"granularity": "voxel"}),
    ("laplace", {"base": "low_rank"}),
]
SAMPLES = 40


@pytest.fixture(scope="module")
def scan(phantoms, tmp_path_factory) -> Path:
    """A phantom on the grid of the models here, so that nothing is resampled."""
    image = nib.load(phantoms / "images" / "case_0.nii.gz")
    path = tmp_path_factory.mktemp("scans") / "scan.nii.gz"
    write_volume(path, np.asarray(image.dataobj)[:24, :24, :12], np.diag([*tiny.SPACING, 1.0]))
    return path


def near(mask: np.ndarray, prediction: Prediction) -> np.ndarray:
    return distance_transform_edt(~mask, sampling=spacing_mm(prediction.affine)) <= NEAR_MM + 1e-9


def dice(one: np.ndarray, other: np.ndarray) -> float:
    total = one.sum() + other.sum()
    return 2 * (one & other).sum() / total if total else np.nan


def expected_scores(predictor: Predictor, found: Prediction) -> dict[str, float]:
    """What `docs/active_learning.md` says of each score, where the scan lies on the model's own grid."""
    label, maps, present = found.label, found.maps, [row for row in found.structures if (found.label == row.id).any()]
    foreground = near(label > 0, found)
    scores = {name: maps[name][foreground].mean() for name in ("predictive_entropy", "mutual_information", "variance")}
    entropy = maps["predictive_entropy"]
    scores |= {of_structure(row.name): entropy[near(label == row.id, found)].mean() for row in present}
    scores["mean_entropy"] = entropy.mean()
    if "ranking" in maps:
        scores["risk_ranking"] = maps["ranking"][foreground].mean()
    scores[FOREGROUND] = (label > 0).sum() * np.prod(spacing_mm(found.affine)) / 1000
    if found.state is None:
        both = {row.name: (label == row.id, maps[f"probability_{row.name}"].astype(float)) for row in found.structures}
        losses = [1 - 2 * p[inside].sum() / (p.sum() + inside.sum()) for inside, p in both.values()]
    else:
        draws = list(predictor.samples(found, SAMPLES))
        losses = [1 - np.nanmean([dice(label == row.id, draw == row.id) for draw in draws]) for row in found.structures]
        ends = [row.volume_ml_95 for row in found.structures]
        scores["volume_interval"] = np.mean([2 * (high - low) / (high + low) for low, high in ends])
    return scores | {"expected_dice_loss": np.mean(losses)}


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize(("head", "options"), VARIANTS)
def test_every_score_of_a_case_is_what_its_page_says(tiny_bundle, scan, head, options, classes):
    predictor = Predictor(tiny_bundle(head, classes, **options))
    found = predictor.predict(scan, samples=SAMPLES)
    expected = expected_scores(predictor, found)
    assert found.case_scores == pytest.approx(expected, rel=2e-3, abs=6e-5)  # the table has four digits
    assert expected.keys() >= ACQUISITIONS.keys() - {"volume_interval", "risk_ranking"}
    assert ("risk_ranking" in expected) == (head == "segwithu")
    assert (found.state is not None) == predictor.network.head.coherent
    sure = (head, options) == ("laplace", {})  # its posterior has no width before it is fitted
    assert (found.case_scores["expected_dice_loss"] == pytest.approx(0, abs=5e-3)) == sure
    assert found.case_scores["expected_dice_loss"] < 1


@pytest.mark.parametrize(
    ("spacing", "options"),
    [
        ((1.5, 1.5, 3.0), {}),
        ((2.0, 4.0, 5.0), {}),
        ((3.0, 3.0, 6.0), {"threshold": "percentile"}),
        ((2.0, 4.0, 5.0), {"threshold": "percentile"}),
        ((3.0, 3.0, 6.0), {"region": ((6, 24), (4, 20), (2, 10))}),
    ],
    ids=str,
)
def test_the_dice_in_the_table_is_that_of_shapes_drawn_on_the_scan(tmp_path, spacing, options):
    """Whatever the scan's grid, the way the label is cut, and the part that was looked at."""
    affine, shape = np.diag([*spacing, 1.0]), tuple(np.rint(np.multiply((28, 26, 16), (3, 3, 6)) / spacing).astype(int))
    affine[:3, 3] = -affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    tiny.write_blob(tmp_path / "blob.nii.gz", affine, shape)
    bundle = tiny.write_threshold_bundle(tmp_path / "models", "low_rank", rank=1)
    predictor = Predictor(bundle, threshold=options.get("threshold"))
    predictor.network.head.factor.bias.data.copy_(torch.tensor([0.0, 6.0]))  # the whole shape grows and shrinks
    found = predictor.predict(tmp_path / "blob.nii.gz", region=options.get("region"), samples=200)
    (row,), draws = found.structures, list(predictor.samples(found, 200))
    drawn = np.mean([dice(found.label == 1, draw == 1) for draw in draws])
    assert row.dice_method == "mean over 200 drawn shapes"
    within = 1e-4 if spacing == tiny.SPACING else 0.02  # of what two grids make of one small blob
    assert row.expected_dice == pytest.approx(drawn, abs=within)
    p = found.maps["probability_organ"]
    by_voxels = 2 * p[found.label == 1].sum() / (p.sum() + (found.label == 1).sum())
    assert abs(by_voxels - drawn) > 0.01  # there is something to tell apart
    if "region" in options:
        assert not any(draw[~found.valid].any() for draw in draws)


@pytest.mark.parametrize("head", ["low_rank", "deterministic"])
def test_a_model_that_is_surer_expects_a_better_dice(tiny_bundle, scan, head):
    """A constant would be right for one model at most."""
    losses = []
    for gain in (0.3, 1.0, 3.0):
        predictor = Predictor(tiny_bundle(head, 3))
        predictor.network.head.mean.weight.data.mul_(gain)
        losses.append(predictor.predict(scan, samples=SAMPLES).case_scores["expected_dice_loss"])
    assert losses[0] > losses[1] + 0.01 > losses[2] + 0.02
