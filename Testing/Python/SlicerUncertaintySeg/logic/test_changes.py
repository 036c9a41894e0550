"""A change of a label, back and forth."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from UncertaintySegLib.logic.changes import Change

LABELS = arrays(np.uint8, (3, 4, 5), elements=st.integers(0, 3))


@given(LABELS, LABELS)
def test_undone_and_redone_are_the_labels_themselves(before, after):
    change = Change(before, after)
    np.testing.assert_array_equal(change.undone(after), before)
    np.testing.assert_array_equal(change.redone(before), after)
    assert change.voxels == (before != after).sum()


@given(LABELS, LABELS, LABELS)
def test_what_others_changed_elsewhere_stays(before, after, other):
    change = Change(before, after)
    same = before == after
    np.testing.assert_array_equal(change.undone(other)[same], other[same])


def test_the_box_holds_every_voxel():
    before, after = np.zeros((4, 5, 6), int), np.zeros((4, 5, 6), int)
    after[1, 2, 5] = after[3, 2, 0] = 1
    assert Change(before, after).box() == ((1, 2, 0), (3, 2, 5))
