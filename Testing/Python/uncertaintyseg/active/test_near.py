"""Nearness against a distance transform, and slab by slab."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from uncertaintyseg.active import near
from uncertaintyseg.active.near import means_near, within

SPACINGS = st.sampled_from([(1.0, 1.0, 1.0), (0.75, 0.75, 3.0), (3.1, 0.6, 1.5), (9.0, 9.0, 9.0)])


@settings(deadline=None)
@given(st.integers(0, 99), SPACINGS, st.sampled_from([0.5, 3.0, 4.2]))
def test_it_is_a_distance_transform_and_a_threshold(seed, spacing, near_mm):
    rng = np.random.default_rng(seed)
    mask = rng.random(rng.integers(1, 14, 3)) < 0.03
    mask[0, 0, 0] = True
    wanted = distance_transform_edt(~mask, sampling=spacing) <= near_mm
    np.testing.assert_array_equal(within(mask, spacing, near_mm), wanted)


@pytest.mark.parametrize("slab", [1, 300, 10**6])
def test_slabs_change_no_mean(monkeypatch, slab):
    monkeypatch.setattr(near, "SLAB", slab)
    rng = np.random.default_rng(1)
    values, label = rng.random((31, 9, 8)).astype(np.float32), np.zeros((31, 9, 8), np.uint8)
    label[4:9, 2:5, 1:4], label[8:29, 6:8, 4:6], label[30, 0, 0] = 1, 3, 4
    spacing = (1.0, 0.8, 2.0)
    whole, each = means_near({"a": values}, label, spacing, 3.0, of_each="a")
    masks = {i: distance_transform_edt(label != i, sampling=spacing) <= 3 for i in (1, 3, 4)}
    assert whole["a"] == pytest.approx(values[np.any(list(masks.values()), axis=0)].mean(dtype=np.float64), rel=1e-12)
    assert each == {i: pytest.approx(values[mask].mean(dtype=np.float64), rel=1e-12) for i, mask in masks.items()}
