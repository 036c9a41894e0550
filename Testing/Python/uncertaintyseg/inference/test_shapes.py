"""Volumes of whole segmentations and their agreement with the label, against scikit-learn and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from uncertaintyseg.inference.shapes import pairs, shape_spread
from uncertaintyseg.wire import Label

LABELS = [Label(id=i, name=name, rgb=(0, 0, 0)) for i, name in enumerate(("organ", "lesion", "absent"), start=1)]


@given(st.integers(0, 20), st.sampled_from([1, 5, 38, 39, 64, 79]))
def test_volumes_and_dice_are_those_of_each_draw(seed, count):
    rng = np.random.default_rng(seed)
    label, draws = rng.integers(0, 3, (5, 4, 3)), rng.integers(0, 3, (count, 5, 4, 3))
    given_ = map(torch.from_numpy, draws), torch.from_numpy(label), LABELS, 0.5
    found = shape_spread(*given_, source="here")
    assert (found.count, found.dice[3]) == (count, None)
    assert (found.limits is None) == (count < 39)
    for item in LABELS[:2]:
        drawn = np.repeat(draws == item.id, 2, axis=0).reshape(2 * count, -1).T  # one column alone would be two classes
        own = np.broadcast_to((label == item.id).reshape(-1, 1), drawn.shape)
        dice = f1_score(own, drawn, average=None)
        assert found.dice[item.id] == pytest.approx(np.mean(dice))
        volumes = np.sort(0.5 * (draws == item.id).sum((1, 2, 3)))
        if count >= 39:
            place = {39: 0, 64: 0, 79: 1}[count]
            assert found.limits[item.id] == (volumes[place], volumes[-1 - place])
            assert found.limits[3] == (0, 0)


@pytest.mark.parametrize(
    ("count", "method"),
    [
        (39, "smallest to largest of 39 whole segmentations drawn here; holds 95.0% of such"),
        (64, "smallest to largest of 64 whole segmentations drawn here; holds 96.9% of such"),
        (79, "second smallest to second largest of 79 whole segmentations drawn here; holds 95.0% of such"),
        (119, "third smallest to third largest of 119 whole segmentations drawn here; holds 95.0% of such"),
        (1000, "25th from either end of 1000 whole segmentations drawn here; holds 95.0% of such"),
        (16, "none: 16 whole segmentations drawn here hold the next with a chance of 88% at most; 95% takes 39"),
    ],
)
def test_it_says_how_the_interval_was_made_or_how_many_draws_it_lacks(count, method):
    draws = [torch.zeros(2, 2, 2, dtype=torch.long)] * count
    assert shape_spread(draws, draws[0], LABELS, 1.0, source="here").method == method


def test_what_is_settled_counts_like_voxels_that_every_draw_repeats():
    rng = torch.Generator().manual_seed(0)
    label, same = (torch.randint(3, (60,), generator=rng) for _ in range(2))
    draws = [torch.where(torch.arange(60) < 25, torch.randint(3, (60,), generator=rng), same) for _ in range(40)]
    whole = shape_spread(draws, label, LABELS, 0.1, source="here")
    settled = pairs(label[25:], same[25:], 4)
    parts = shape_spread([draw[:25] for draw in draws], label[:25], LABELS, 0.1, source="here", settled=settled)
    assert parts == whole
