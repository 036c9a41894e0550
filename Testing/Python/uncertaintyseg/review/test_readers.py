"""Where several people label one scan differently."""

from __future__ import annotations

import numpy as np
import pytest

from uncertaintyseg.errors import InputError
from uncertaintyseg.metrics.ambiguity import rater_variance
from uncertaintyseg.review.readers import disagreement
from uncertaintyseg.wire import Label

LABELS = [Label(id=1, name="organ", rgb=(1, 2, 3)), Label(id=2, name="lesion", rgb=(3, 2, 1))]
AFFINE = np.diag([1.0, 2.0, 5.0, 1.0])  # 0.01 mL a voxel


def box(value: int, first: int, last: int) -> np.ndarray:
    label = np.zeros((12, 10, 8), np.uint8)
    label[first:last, 2:8, 2:6] = value
    return label


@pytest.mark.parametrize("count", [2, 3, 5])
def test_the_map_is_the_raters_variance_of_the_library(count):
    draw = np.random.default_rng(count)
    readers = [draw.integers(0, 3, (7, 6, 5)).astype(np.uint8) for _ in range(count)]
    found = disagreement(readers, LABELS, AFFINE)
    np.testing.assert_allclose(found.slope * found.steps, rater_variance(np.stack(readers), 3), atol=1e-12)
    assert found.differing_ml == pytest.approx(0.01 * np.count_nonzero(np.ptp(readers, axis=0)))


def test_regions_are_where_they_disagree_and_say_what_most_of_them_lack():
    """Two of three end the organ at 6, one at 9; all three agree on the rest."""
    readers = [box(1, 2, 6), box(1, 2, 6), box(1, 2, 9)]
    [place] = disagreement(readers, LABELS, AFFINE).regions
    assert (place.structure, place.bounding_box) == ("organ", ((6, 2, 2), (8, 7, 5)))
    voxels = 3 * 6 * 4
    assert place.volume_ml == pytest.approx(0.01 * voxels)
    assert place.expected_error_ml == pytest.approx(0.01 * voxels * 2 / 3, rel=1e-3)  # of three pairs two differ


def test_the_structure_that_is_confused_is_named_and_agreement_gives_nothing():
    [place] = disagreement([box(1, 2, 6), box(2, 2, 6), box(2, 2, 6)], LABELS, AFFINE).regions
    assert (place.structure, place.kind) == ("lesion", "extra")
    agreed = disagreement([box(1, 2, 6)] * 3, LABELS, AFFINE)
    assert (agreed.regions, agreed.differing_ml, agreed.steps.max()) == ([], 0.0, 0)


@pytest.mark.parametrize("readers", [[], [box(1, 2, 6)], [box(1, 2, 6), box(1, 2, 6)[:-1]]])
def test_one_reader_or_other_grids_are_refused(readers):
    with pytest.raises(InputError):
        disagreement(readers, LABELS, AFFINE)
