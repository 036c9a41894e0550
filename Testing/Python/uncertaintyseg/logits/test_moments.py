"""What averages over windows and passes."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.logits import Moments, largest, most_likely


@pytest.mark.parametrize("classes", [2, 3, 7])
def test_the_most_likely_class_is_the_first_of_the_largest(classes):
    values = torch.randint(3, (classes, 4, 5, 6), generator=torch.Generator().manual_seed(0)).float()
    assert torch.equal(most_likely(values), torch.from_numpy(values.numpy().argmax(0)))
    assert torch.equal(largest(values)[0], values.amax(0))


def test_stacking_loses_nothing():
    moments = Moments.of_point(torch.randn(2, 4, 3, 3, 2))
    back = Moments.unstacked(moments.stacked())
    for name in ("probability", "second_moment", "expected_entropy"):
        assert torch.equal(getattr(moments, name), getattr(back, name))


def test_averaging_moments_keeps_the_disagreement_between_passes():
    logits = torch.randn(8, 3, 4, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    average = Moments.unstacked(Moments.of_point(logits).stacked().mean(0, keepdim=True))
    assert torch.allclose(average.variance[0], logits.softmax(1).var(0, correction=0))


def test_the_variance_is_never_negative():
    p = torch.full((1, 2, 1, 1, 1), 0.5)
    assert torch.equal(Moments(p, p.square() - 1e-7, p[:, :1]).variance, torch.zeros_like(p))
