"""A label by a model's probabilities: sums over voxels, and the damaged label comes first."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from uncertaintyseg.review.agreement import POSSIBLE, agreement, counts
from uncertaintyseg.review.existing_label import doubted_difference, label_error, review_label
from uncertaintyseg.wire import Label

LABELS = [Label(id=2, name="organ", rgb=(1, 2, 3)), Label(id=7, name="lesion", rgb=(4, 5, 6))]
AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])


@pytest.fixture
def case():
    """Ids, and the probabilities of background, organ and lesion."""
    rng = np.random.default_rng(0)
    p = rng.dirichlet([0.5, 0.3, 0.2], (12, 10, 8)).transpose(3, 0, 1, 2)
    return rng.choice([0, 2, 7], p.shape[1:]), p


def probabilities(p: np.ndarray) -> dict[str, np.ndarray]:
    return {"organ": p[1], "lesion": p[2]}


def test_the_error_is_one_minus_the_probability_of_the_label(case):
    label, p = case
    of_label = np.take_along_axis(p, np.searchsorted([0, 2, 7], label)[None], 0)[0]
    assert np.allclose(label_error(label, probabilities(p), LABELS), 1 - of_label, atol=1e-6)


def test_rows_are_sums_over_voxels(case):
    label, p = case
    review = review_label(label, probabilities(p), LABELS, AFFINE)
    for row, index in zip(review.structures, (1, 2), strict=True):
        inside = label == row.id
        wrong = np.where(inside, 1 - p[index], p[index])
        assert row.volume_ml == pytest.approx(inside.sum() * 0.008)
        assert row.expected_error_ml == pytest.approx(wrong[wrong >= POSSIBLE].sum() * 0.008, abs=1e-4)
        excess = wrong - np.minimum(wrong, 1 - wrong)
        assert row.excess_error_ml == pytest.approx(excess.sum() * 0.008, abs=1e-4)
        assert row.volume_ml_95 is None
        assert row.interval_method.startswith("none: ")


def excess_error(label: np.ndarray, p: np.ndarray) -> float:
    return agreement(label, 1, p, counts(label, p, None, 2)).excess


def test_the_best_guess_has_no_excess_however_unsure_it_is():
    p = np.random.default_rng(1).random((9, 9, 9))
    assert excess_error((p > 0.5).astype(np.uint8), p) == 0


def test_what_the_model_did_not_see_is_not_reviewed():
    p = np.full((10, 10, 10), 0.01)
    label, valid = np.zeros(p.shape, int), np.zeros(p.shape, bool)
    label[2:8, 2:8, 2:8], valid[:5] = 2, True
    p[2:5, 2:8, 2:8] = 0.99  # it saw half of the organ, and agrees
    p[5:] = 0
    review = review_label(label, {"organ": p}, LABELS[:1], AFFINE, valid=valid)
    assert review.regions == []
    assert review.error_probability[5:].max() == 0
    assert review.structures[0].flag == "reaches the edge of the scan"
    assert review.structures[0].volume_ml == pytest.approx(3 * 36 * 0.008)


def damages(reference: np.ndarray) -> dict[str, np.ndarray]:
    """A third eroded away, a lobe deleted, half given to the other structure, and a false piece."""
    organ = reference == 2
    upper = np.arange(reference.shape[2]) > 11
    return {
        "eroded": np.where(organ & ~ndimage.binary_erosion(organ), 0, reference),
        "lobe": np.where(organ & upper, 0, reference),
        "swapped": np.where(organ & upper, 7, reference),
        "false": np.where(np.indices(reference.shape).min(0) > 20, 2, reference),
    }


@pytest.mark.parametrize("kind", ["eroded", "lobe", "swapped", "false"])
def test_a_damaged_label_is_expected_to_be_more_wrong_and_the_place_is_found(kind):
    grid = np.indices((24, 24, 24))
    depth = np.sqrt(((grid - 11.5) ** 2).sum(0))
    p = 1 / (1 + np.exp(1.5 * (depth - 8)))
    reference = np.where(p > 0.5, 2, 0)
    maps = {"organ": p, "lesion": np.zeros_like(p)}
    before = review_label(reference, maps, LABELS, AFFINE)
    damaged = damages(reference)[kind]
    after = review_label(damaged, maps, LABELS, AFFINE)
    assert after.structures[0].expected_error_ml > before.structures[0].expected_error_ml
    assert after.structures[0].excess_error_ml > 0.05
    assert before.structures[0].excess_error_ml == 0
    worst = after.regions[0]
    assert damaged[worst.ijk] != reference[worst.ijk]
    if kind == "swapped":
        assert after.structures[1].excess_error_ml > 1
    assert worst.kind == {"eroded": "border", "lobe": "missed", "swapped": "extra", "false": "extra"}[kind]


def test_what_a_person_decided_is_certain_and_the_rest_stays_as_it_was(case):
    label, p = case
    right = np.zeros(label.shape, bool)
    right[:4] = True
    decided = {item.name: np.where(right, label == item.id, p[i]) for i, item in enumerate(LABELS, start=1)}
    wanted = review_label(label, decided, LABELS, AFFINE)
    found = review_label(label, probabilities(p), LABELS, AFFINE, right=right)
    assert found.structures == wanted.structures
    assert found.regions == wanted.regions
    assert not found.error_probability[:4].any()
    np.testing.assert_array_equal(found.error_probability, wanted.error_probability)


def test_the_difference_is_how_much_surer_the_model_is_of_its_own_label(case):
    label, p = case
    own = np.array([0, 2, 7])[p.argmax(0)]
    found = doubted_difference(label, own, probabilities(p), LABELS, label != own)
    of_label, of_own = (np.take_along_axis(p, np.searchsorted([0, 2, 7], x)[None], 0)[0] for x in (label, own))
    assert np.allclose(found, of_own - of_label, atol=1e-6)


def test_with_one_structure_the_difference_sums_up_to_the_excess():
    p = np.random.default_rng(0).random((9, 8, 7))
    label = (np.random.default_rng(1).random(p.shape) < p).astype(np.uint8)
    one = [Label(id=1, name="organ", rgb=(1, 2, 3))]
    own = (p > 0.5).astype(np.uint8)
    found = doubted_difference(label, own, {"organ": p}, one, label != own)
    assert found.sum() == pytest.approx(excess_error(label, p), rel=1e-5)
