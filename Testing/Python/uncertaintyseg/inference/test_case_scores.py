"""Every score of a case, with every head, against numpy: a score that is finite but wrong ranks cases wrongly."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
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
    assert found.case_scores == pytest.approx(expected, rel=2e-3, abs=1e-6)
    assert expected.keys() >= ACQUISITIONS.keys() - {"volume_interval"}
    assert (found.state is not None) == predictor.network.head.coherent
    assert 0 < found.case_scores["expected_dice_loss"] < 1


@pytest.mark.parametrize("head", ["low_rank", "deterministic"])
def test_a_model_that_is_surer_expects_a_better_dice(tiny_bundle, scan, head):
    """A constant would be right for one model at most."""
    losses = []
    for gain in (0.3, 1.0, 3.0):
        predictor = Predictor(tiny_bundle(head, 3))
        predictor.network.head.mean.weight.data.mul_(gain)
        losses.append(predictor.predict(scan, samples=SAMPLES).case_scores["expected_dice_loss"])
    assert losses[0] > losses[1] + 0.01 > losses[2] + 0.02
