"""Fusion: who is surer counts more, and averages stay averages."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.fusion import WEIGHTINGS, fuse, weighting
from uncertaintyseg.logits import GaussianLogits, LogitEnsemble, Moments


def of(*probabilities: float, classes: int = 2) -> Moments:
    """A point mass at each voxel, by the probability of class 1 (the others share the rest)."""
    p = torch.tensor(probabilities, dtype=torch.float64)
    rest = (1 - p) / (classes - 1)
    return Moments.of_point(torch.stack([rest, p, *[rest] * (classes - 2)]).log()[None])


def entropy(p):
    return -sum(q * math.log(q) for q in p if q > 0)


def random_components(count, seed=0, classes=3, shape=(3, 4)):
    generator = torch.Generator().manual_seed(seed)
    return [
        Moments.of_point(3 * torch.randn(1, classes, *shape, generator=generator, dtype=torch.float64))
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("mean", lambda u: 1.0),
        ("inverse", lambda u: 1 / (u + 1e-3)),
        ("exponential", lambda u: math.exp(-2 * u)),
        ("power", lambda u: (u + 1e-3) ** -2),
    ],
)
def test_weights_are_the_formulas_of_the_relative_entropy(name, formula):
    for p in (0.5, 0.9, 0.999):
        u = entropy([p, (1 - p) / 2, (1 - p) / 2]) / math.log(3)
        assert weighting(name, 2.0)(of(p, classes=3)).item() == pytest.approx(formula(u), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("mean", lambda h, u: 1.0),
        ("inverse", lambda h, u: 1 / (h + 1e-6)),
        ("exponential", lambda h, u: math.exp(-2 * h)),
        ("power", lambda h, u: (1 - u) ** 2),
    ],
)
def test_faithful_weights_are_those_of_the_papers_code(name, formula):
    for p in (0.6, 0.9, 0.999):
        h = entropy([p, 1 - p])
        found = weighting(name, 2.0, faithful=True)(of(p)).item()
        assert found == pytest.approx(formula(h, h / math.log(2)), abs=2e-6, rel=1e-6)


@given(name=st.sampled_from(WEIGHTINGS), faithful=st.booleans(), seed=st.integers(0, 999), count=st.integers(1, 5))
def test_moments_and_uncertainty_are_averages_with_weights_that_sum_to_one(name, faithful, seed, count):
    components, weigh = random_components(count, seed), weighting(name, faithful=faithful)
    fused = fuse(iter(components), weigh)
    weights = np.stack([weigh(m).numpy() for m in components])
    weights = weights / weights.sum(0)
    wanted = (weights * np.stack([m.stacked().numpy() for m in components])).sum(0)
    assert np.allclose(fused.moments.stacked().numpy(), wanted, atol=1e-12)
    entropies = np.stack([torch.special.entr(m.probability).sum(1, keepdim=True).numpy() for m in components])
    assert np.allclose(fused.uncertainty.numpy(), (weights * entropies).sum(0), atol=1e-12)
    assert torch.allclose(fused.moments.probability.sum(1), torch.ones(1, 3, 4, dtype=torch.float64))


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("faithful", [False, True])
def test_components_that_are_equally_sure_count_alike(name, faithful):
    fused = fuse([of(0.2, 0.9), of(0.8, 0.1)], weighting(name, faithful=faithful))
    assert torch.allclose(fused.moments.probability, torch.full((1, 2, 2), 0.5, dtype=torch.float64), atol=1e-9)
    assert torch.allclose(fused.moments.variance[0, 1], torch.tensor([0.09, 0.16], dtype=torch.float64), atol=1e-9)


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("faithful", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_components_that_know_everything_or_nothing_stay_finite(name, faithful, dtype):
    sure = Moments.of_point(torch.tensor([[0.0, 2000.0]], dtype=dtype)[..., None])
    unsure = Moments.of_point(torch.zeros(1, 2, 1, dtype=dtype))
    for components in ([sure, unsure], [sure, sure], [unsure, unsure]):
        fused = fuse(components, weighting(name, faithful=faithful))
        assert torch.isfinite(fused.moments.stacked()).all()
        assert fused.moments.probability.sum().item() == pytest.approx(1, abs=1e-5)
    favoured = fuse([sure, unsure], weighting(name, faithful=faithful)).moments.probability[0, 1].item()
    assert favoured == pytest.approx(0.75) if name == "mean" else 0.8 < favoured <= 1


@pytest.mark.parametrize("classes", range(2, 12))
def test_rounding_does_not_make_anybody_more_than_unsure(classes):
    unsure = Moments.of_point(torch.zeros(1, classes, 1))
    assert torch.isfinite(weighting("power", 0.5, faithful=True)(unsure)).all()


def test_without_sharpness_it_is_the_plain_mean():
    components = random_components(3)
    plain = fuse(components, weighting("mean")).moments.stacked()
    for name in ("exponential", "power"):
        assert torch.allclose(fuse(components, weighting(name, 0.0)).moments.stacked(), plain)


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_an_ensemble_weighs_its_passes_alike(name):
    logits = [torch.randn(1, 3, 4, 5, generator=torch.Generator().manual_seed(i)) for i in range(4)]
    ensemble = LogitEnsemble(lambda: (GaussianLogits(x) for x in logits), 4, weighting(name))
    fused = fuse((Moments.of_point(x) for x in logits), weighting(name))
    assert torch.allclose(ensemble.moments().stacked(), fused.moments.stacked(), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "sharpness", "message"),
    [("loudest", 1.0, "'loudest' does not exist; choose mean, inverse"), ("power", -1.0, "from 0 up"),
     ("power", math.nan, "from 0 up")],
)  # fmt: skip
def test_weightings_without_sense_are_refused(name, sharpness, message):
    with pytest.raises(InputError, match=message):
        weighting(name, sharpness)


def test_answers_that_do_not_belong_together_are_refused():
    with pytest.raises(InputError, match="nothing to fuse"):
        fuse([], weighting("mean"))
    two, three = random_components(1, classes=2), random_components(1, classes=3)
    with pytest.raises(InputError, match=r"3 classes on \(3, 4\) voxels cannot be fused with those of 2"):
        fuse(two + three, weighting("inverse"))
