"""Risk maps against numpy, and the ranges that are promised for them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from uncertaintyseg.logits import Diagonal, GaussianLogits, Moments
from uncertaintyseg.measures import MEASURES, map_info, risk_maps

CLASSES = st.sampled_from([2, 3, 5, 12])


def names(classes: int) -> list[str]:
    return [f"s{i}" for i in range(1, classes)]


@pytest.fixture
def draws():
    """Class probabilities of 40 passes, `[40, C = 4, 3, 2, 2]`."""
    rng = np.random.default_rng(0)
    return rng.dirichlet([0.4, 1, 0.2, 2], (40, 3, 2, 2)).transpose(0, 4, 1, 2, 3)


def test_maps_agree_with_numpy(draws):
    mean = draws.mean(0)
    moments = Moments.unstacked(
        torch.from_numpy(np.concatenate([mean, (draws**2).mean(0), entropy(draws, axis=1).mean(0)[None]]))[None]
    )
    maps = {name: value[0, 0].numpy() for name, value in risk_maps(moments, names(4)).items()}
    ordered = np.sort(mean, axis=0)
    wanted = {
        "variance": draws.var(0).sum(0) / 2,
        "predictive_entropy": entropy(mean, axis=0),
        "expected_entropy": entropy(draws, axis=1).mean(0),
        "mutual_information": entropy(mean, axis=0) - entropy(draws, axis=1).mean(0),
        "margin_risk": 1 - (ordered[-1] - ordered[-2]),
        "error_probability": 1 - ordered[-1],
        **{f"probability_s{c}": mean[c] for c in range(1, 4)},
        **{f"variance_s{c}": draws.var(0)[c] for c in range(1, 4)},
    }
    assert list(maps)[: len(MEASURES)] == list(MEASURES)
    assert maps.keys() == wanted.keys()
    for name, value in wanted.items():
        assert np.allclose(maps[name], value, atol=1e-12), name


def test_with_two_classes_the_variance_is_that_of_the_foreground():
    logits = torch.randn(1, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    maps = risk_maps(GaussianLogits(logits, Diagonal(torch.ones_like(logits))).moments(), ["x"])
    assert torch.allclose(maps["variance"], maps["variance_x"], atol=1e-7)
    assert torch.allclose(maps["margin_risk"], 2 * maps["error_probability"], atol=1e-6)


@given(CLASSES, st.integers(0, 100), st.sampled_from([0.0, 0.1, 3.0, 30.0]), st.sampled_from([0.0, 1.0, 20.0, 150.0]))
def test_every_map_stays_within_the_range_it_states(classes, seed, spread, variance):
    generator = torch.Generator().manual_seed(seed)
    mean = spread * torch.randn(1, classes, 5, 4, 3, generator=generator)
    distribution = GaussianLogits(mean, Diagonal(variance * torch.rand(mean.shape, generator=generator)))
    for name, value in risk_maps(distribution.moments(), names(classes)).items():
        low, high = map_info(name, classes, "aleatoric").range
        assert low == 0
        assert value.min() >= 0, name
        assert value.max() <= high * (1 + 1e-5), name
        assert torch.isfinite(value).all()


@given(CLASSES)
def test_the_ranges_are_reached(classes):
    """By a voxel of which nothing is known, or of which only is known that some class is certain."""
    flat = torch.full((1, classes, 1, 1, 1), 1 / classes, dtype=torch.float64)
    unknown = risk_maps(Moments(flat, flat.square(), flat.new_full((1, 1, 1, 1, 1), np.log(classes))), names(classes))
    one_hot = risk_maps(Moments(flat, flat, torch.zeros_like(flat[:, :1])), names(classes))
    for name in ("predictive_entropy", "expected_entropy", "margin_risk", "error_probability"):
        assert unknown[name].item() == pytest.approx(map_info(name, classes, "total").range[1])
    for name in ("variance", "mutual_information"):
        assert one_hot[name].item() == pytest.approx(map_info(name, classes, "total").range[1])


def test_units_say_nats_for_entropies_only():
    for name in (*MEASURES, "probability_x", "variance_x"):
        info = map_info(name, 3, "epistemic")
        assert info.unit == ("nats" if "entropy" in name or name == "mutual_information" else "1")
        assert info.source == "epistemic"


def test_a_point_mass_has_no_epistemic_part():
    maps = risk_maps(Moments.of_point(3 * torch.randn(1, 3, 4, 4, 4)), names(3))
    assert maps["variance"].max() == 0
    assert maps["mutual_information"].max() < 1e-6
