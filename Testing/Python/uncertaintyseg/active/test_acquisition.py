"""The score of a case: entropy near its foreground, in millimetres."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.active.acquisition import NEAR_MM, entropy_near_foreground


def brute_force(entropy: np.ndarray, label: np.ndarray, spacing: tuple[float, ...], near: float) -> float:
    voxels = np.stack(np.meshgrid(*(np.arange(n) for n in label.shape), indexing="ij"), -1) * np.array(spacing)
    foreground = voxels[label > 0]
    distance = np.linalg.norm(voxels[..., None, :] - foreground, axis=-1).min(-1)
    return float(entropy[distance <= near + 1e-9].mean())


@given(
    st.integers(0, 50),
    st.sampled_from([(1.0, 1.0, 1.0), (0.7, 0.7, 3.0), (2.9, 3.1, 1.4)]),
    st.sampled_from([0.9, 2, 3.5]),
)
def test_the_score_agrees_with_brute_force(seed, spacing, near):
    rng = np.random.default_rng(seed)
    entropy, label = rng.random((9, 8, 7)), (rng.random((9, 8, 7)) < 0.01).astype(np.uint8) * 2
    label[4, 3, 5] = 1
    assert entropy_near_foreground(entropy, label, spacing, near) == pytest.approx(
        brute_force(entropy, label, spacing, near)
    )


def test_three_millimetres_are_the_default():
    entropy, label = np.zeros((11, 3, 3)), np.zeros((11, 3, 3), int)
    label[5, 1, 1] = 1
    entropy[2:9] = 1
    assert NEAR_MM == 3
    assert entropy_near_foreground(entropy, label, (1, 10, 10)) == 1
    assert entropy_near_foreground(entropy, label, (0.5, 10, 10)) < 1


def test_a_case_without_foreground_is_scored_by_its_whole_volume():
    entropy = np.random.default_rng(0).random((4, 4, 4))
    assert entropy_near_foreground(entropy, np.zeros((4, 4, 4), int), (1, 1, 1)) == pytest.approx(entropy.mean())


def test_the_size_of_the_background_does_not_matter():
    entropy, label = np.zeros((10, 10, 10)), np.zeros((10, 10, 10), int)
    label[4:6, 4:6, 4:6], entropy[4:6, 4:6, 4:6] = 1, 0.5
    padded = [np.pad(a, 7) for a in (entropy, label)]
    assert entropy_near_foreground(*padded, (1, 1, 1)) == pytest.approx(
        entropy_near_foreground(entropy, label, (1, 1, 1))
    )
