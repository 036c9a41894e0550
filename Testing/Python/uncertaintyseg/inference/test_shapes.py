"""Volumes of whole segmentations and their agreement with the label, against scikit-learn and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score

from uncertaintyseg.inference.shapes import shape_spread
from uncertaintyseg.wire import Label

LABELS = [Label(id=i, name=name, rgb=(0, 0, 0)) for i, name in enumerate(("organ", "lesion", "absent"), start=1)]


@given(st.integers(0, 20), st.integers(1, 6))
def test_volumes_and_dice_are_those_of_each_draw(seed, count):
    rng = np.random.default_rng(seed)
    label, draws = rng.integers(0, 3, (5, 4, 3)), rng.integers(0, 3, (count, 5, 4, 3))
    found = shape_spread(map(torch.from_numpy, draws), torch.from_numpy(label), LABELS, 0.5)
    assert set(found.dice) == {"organ", "lesion"}
    assert found.limits[3] == (0, 0)
    for item in LABELS[:2]:
        dice = [f1_score((label == item.id).ravel(), (draw == item.id).ravel()) for draw in draws]
        assert found.dice[item.name] == pytest.approx(np.mean(dice))
        volumes = 0.5 * (draws == item.id).sum((1, 2, 3))
        assert found.limits[item.id] == pytest.approx(np.percentile(volumes, [2.5, 97.5]))
