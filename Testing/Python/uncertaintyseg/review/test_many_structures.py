"""Walking boxes and slabs gives what whole arrays, one a structure, give; the plain formulas stand here."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from uncertaintyseg.inference.volumes import Block, BoxVolume
from uncertaintyseg.review import boxes, regions
from uncertaintyseg.review.agreement import POSSIBLE
from uncertaintyseg.review.boxes import box_of
from uncertaintyseg.review.coverage import UNCALIBRATED, review_curve
from uncertaintyseg.review.existing_label import doubted_difference, label_error, review_label
from uncertaintyseg.review.structures import remaining_error
from uncertaintyseg.wire import Label

SHAPE, COUNT = (30, 26, 28), 12
AFFINE = np.diag([1.5, 1.5, 2.0, 1.0])
VOXEL_ML = 0.0045
LABELS = [Label(id=i, name=f"s{i}", rgb=(1, 2, 3)) for i in range(1, COUNT + 1)]
_LEAST = 1 / 65535


@pytest.fixture(autouse=True)
def small_slabs(monkeypatch):
    monkeypatch.setattr(boxes, "SLAB", 3000)


def maps() -> np.ndarray:
    """Probabilities `[C, *S]` of ragged balls, 0 below the least step as a map of boxes has them."""
    rng = np.random.default_rng(3)
    logits = np.zeros((COUNT + 1, *SHAPE), np.float32)
    rough = 5 * ndimage.gaussian_filter(rng.standard_normal(SHAPE).astype(np.float32), 1)
    for item in LABELS:
        grid = np.indices(SHAPE) - rng.uniform(4, 24, 3)[:, None, None, None]
        logits[item.id] = 9 - 2.2 * np.sqrt((grid**2).sum(0)) + rough
    p = np.exp(logits - logits.max(0))
    p /= p.sum(0)
    p[1:][p[1:] < _LEAST] = 0
    return p


@pytest.fixture(scope="module")
def p() -> np.ndarray:
    return maps()


def boxed(values: np.ndarray) -> BoxVolume:
    """In two blocks, as they come chunk by chunk."""
    halves = [(slice(0, 13),), (slice(13, None),)]
    blocks = []
    for half in halves:
        box = box_of(values[half] > 0)
        start = box[0].start + (half[0].start or 0), box[1].start, box[2].start
        blocks.append(Block(start, values[half][box]))
    return BoxVolume(values.shape, blocks)


@pytest.fixture(params=["arrays", "boxes"])
def probabilities(request, p):
    make = boxed if request.param == "boxes" else np.asarray
    return {item.name: make(p[item.id]) for item in LABELS}


@pytest.fixture
def label(p):
    """Somebody else's: a structure moved away from where it is possible, one gone, one grown."""
    found = p.argmax(0).astype(np.uint8)
    found[found == 2] = 0
    found[ndimage.binary_dilation(found == 3, iterations=2)] = 3
    found[:3, :3, :3] = 5
    return found


def plain_error(label, p):
    structures = p[1:].sum(0, dtype=np.float32)
    error = np.clip(structures, 0, 1)
    for item in LABELS:
        error[label == item.id] = 1 - p[item.id][label == item.id]
    return error


def test_the_error_of_a_label(label, p, probabilities):
    found = label_error(label, probabilities, LABELS)
    np.testing.assert_allclose(found, plain_error(label, p), atol=1e-6)
    for item in LABELS:  # no sum is behind these
        np.testing.assert_array_equal(found[label == item.id], 1 - p[item.id][label == item.id])


def test_how_much_surer_the_model_is_of_its_own(label, p, probabilities):
    own = p.argmax(0)
    wanted = np.maximum(plain_error(label, p) - plain_error(own, p), 0) * (label != own)
    found = doubted_difference(label, own, probabilities, LABELS, label != own)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("decided", [False, True])
def test_every_row(label, p, probabilities, decided):
    own, right = p.argmax(0), np.zeros(label.shape, bool)
    right[:20, :2] = decided
    review = review_label(label, probabilities, LABELS, AFFINE, own=own, right=right if decided else None)
    for row in review.structures:
        inside = label == row.id
        q = np.where(right, inside, p[row.id]).astype(np.float64)
        wrong = np.where(inside, 1 - q, q)
        assert row.volume_ml == round(inside.sum() * VOXEL_ML, 4)
        assert row.expected_error_ml == pytest.approx(wrong[wrong >= POSSIBLE].sum() * VOXEL_ML, abs=1e-4)
        assert row.excess_error_ml == pytest.approx(np.maximum(2 * wrong - 1, 0).sum() * VOXEL_ML, abs=1e-4)
        assert row.mean_risk == (
            pytest.approx(review.error_probability[inside].mean(), abs=1e-4) if inside.any() else None
        )
        assert row.expected_dice == pytest.approx(2 * q[inside].sum() / (q.sum() + inside.sum()), abs=1e-4)
        xor = (inside ^ (own == row.id)).sum()
        assert row.anomaly_score == (round(xor / inside.sum(), 4) if inside.any() else None)
        sizes = inside.sum() + (own == row.id).sum()
        assert row.anomaly_symmetric == (round(2 * xor / sizes, 4) if sizes else None)
        faces = [inside.take([0, -1], axis).any() for axis in range(3)]
        assert ("edge of the scan" in (row.flag or "")) == (inside.any() and any(faces))


def plain_owner(label, error, p):
    best = 1 + p[1:].argmax(0)
    likely = np.where(p[1:].max(0) > 0, best, 0)
    return np.where(error >= regions.LEVELS[0], np.where(label == 0, likely, label), 0)


def test_a_doubted_voxel_of_the_background_belongs_to_the_likeliest_structure(label, p, probabilities):
    error = plain_error(label, p)
    wanted = plain_owner(label, error, p)
    assert len(np.unique(wanted)) == COUNT + 1
    found = regions.regions(label, error, probabilities, LABELS, AFFINE, limit=10**4)
    alternative = np.where(label == 0, plain_owner(np.zeros_like(label), np.ones_like(error), p), 0).astype(np.uint8)
    assert found == regions.regions(label, error, {}, LABELS, AFFINE, alternative=alternative, limit=10**4)
    # in a scan of some hundredths of a millimetre no piece is long enough to be cut
    whole = regions.regions(label, error, probabilities, LABELS, np.diag([0.01, 0.01, 0.01, 1]), limit=10**4)
    for item in LABELS:
        pieces = ndimage.find_objects(numbers := ndimage.label(wanted == item.id)[0])
        sums = [error[cut][numbers[cut] == number].sum() for number, cut in enumerate(pieces, start=1)]
        firsts = {tuple(part.start for part in cut) for cut, sum_ in zip(pieces, sums, strict=True) if sum_ >= 1}
        assert {region.bounding_box[0] for region in whole if region.structure == item.name} == firsts


def test_the_curve_counts_voxels_and_pieces_across_slabs(p):
    error = (1 - p.max(0)).astype(np.float32)
    error[::2, ::2, ::2] = 0.97  # pieces of one voxel in every slab
    for point, threshold in zip(review_curve(error, VOXEL_ML, None), UNCALIBRATED, strict=True):
        above = error > threshold
        assert point.regions == ndimage.label(above)[1]
        assert point.reviewed_ml == round(np.count_nonzero(above) * VOXEL_ML, 4)
    wrong = error.astype(np.float64)
    assert remaining_error(error) == pytest.approx(wrong[wrong >= POSSIBLE].sum())
