"""Two labels of one scan against each other."""

from __future__ import annotations

import numpy as np
import pytest

from Testing.Python.uncertaintyseg.review.test_readers import AFFINE, LABELS, box
from uncertaintyseg.metrics.overlap import dice
from uncertaintyseg.review.versions import difference


def test_each_structure_has_its_dice_and_its_volumes_and_one_without_a_name_its_number():
    first = box(1, 2, 6) + box(3, 8, 10)
    second = box(1, 2, 5) + box(3, 8, 10)
    found = difference(first, second, LABELS, AFFINE)
    assert [(row.id, row.name) for row in found.structures] == [(1, "organ"), (3, "class 3")]
    assert found.structures[0].dice == pytest.approx(dice(first == 1, second == 1))
    assert found.structures[0].ml == pytest.approx((0.01 * 96, 0.01 * 72))
    assert (found.structures[1].dice, found.voxels) == (1.0, 24)


def test_places_are_as_seen_from_the_first_label():
    first, second = box(1, 2, 6), box(1, 3, 6)
    second[9:11, 2:8, 2:6] = 2
    places = difference(first, second, LABELS, AFFINE).regions
    assert [(p.structure, p.kind, p.volume_ml) for p in places] == [
        ("lesion", "missed", pytest.approx(0.48)), ("organ", "border", pytest.approx(0.24)),
    ]  # fmt: skip
    assert places[0].bounding_box == ((9, 2, 2), (10, 7, 5))
    assert difference(first, first, LABELS, AFFINE).regions == []


def test_empty_labels_do_not_differ():
    empty = np.zeros((4, 4, 4), np.uint8)
    assert difference(empty, empty, LABELS, AFFINE) == (0, [], [])
