"""How often cases, slices and classes count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from uncertaintyseg.errors import InputError
from uncertaintyseg.training.sampling import RareSliced, Rarity, checked_weights, class_weights


def label(*slices: int) -> torch.Tensor:
    """`[1, 2, 2, D]` with one voxel of the given class in each slice."""
    volume = torch.zeros(1, 2, 2, len(slices), dtype=torch.long)
    volume[0, 0, 0] = torch.tensor(slices)
    return volume


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any))
def test_class_weights_go_with_one_over_the_frequency(counts):
    volumes = [torch.full((1, n), c) for c, n in enumerate(counts) if n]
    found = class_weights(volumes, 3)
    assert np.mean(found) == pytest.approx(1)
    np.testing.assert_allclose(np.multiply(found, np.maximum(counts, 1)), found[0] * max(counts[0], 1))


def test_given_weights_must_be_one_positive_number_a_class():
    assert checked_weights([1, 2, 0.5], 3) == [1, 2, 0.5]
    for wrong in ([1, 2], [1, 2, 0], [1, 2, -1], [1, 2, float("nan")], [1, 2, float("inf")]):
        with pytest.raises(InputError, match=r"'recipe\.class_weights' needs 3 positive numbers"):
            checked_weights(wrong, 3)


def test_cases_with_a_rare_class_are_drawn_so_many_times_as_often():
    cases = [label(0, 1), label(1, 2), label(2, 2), label(0, 0)] * 2500
    drawn = np.bincount([i % 4 for i in Rarity([2], 3.0, 3).sampler(cases)], minlength=4) / len(cases)
    np.testing.assert_allclose(drawn, np.array([1, 3, 3, 1]) / 8, atol=0.02)


def test_slices_are_drawn_as_if_they_lay_in_one_bag():
    rarity = Rarity([2], 4.0, 3)
    cases = [label(0, 1, 2), label(0, 0), label(2, 2, 1, 2, 0)]
    wanted = np.array([1, 1, 4, 1, 1, 4, 4, 1, 4, 1]) / 22
    first, cut, drawn = [0, 3, 5], RareSliced(rarity).set_random_state(0), np.zeros(10)
    items = [{"image": torch.arange(start, start + c.shape[-1]).expand(c.shape), "label": c} for c, start in
             zip(cases, first, strict=True)]  # fmt: skip
    sampler = rarity.sampler(cases, slices=True)
    assert len(sampler) == 10
    for _ in range(600):
        for case in sampler:
            piece = cut(items[case])
            assert piece["label"].shape == (1, 2, 2, 1)
            drawn[int(piece["image"][0, 0, 0, 0])] += 1
    np.testing.assert_allclose(drawn / drawn.sum(), wanted, atol=0.02)


def test_without_rare_classes_every_slice_counts_the_same():
    assert Rarity([], 3.0, 3).of_slices(label(0, 1, 2)).tolist() == [1, 1, 1]


def test_the_same_seed_draws_the_same_cases():
    sampler = Rarity([2], 3.0, 3).sampler([label(i % 3) for i in range(20)])
    sampler.generator.manual_seed(5)
    first = list(sampler)
    torch.manual_seed(1)  # a generator of its own: what else is random does not matter
    sampler.generator.manual_seed(5)
    assert list(sampler) == first


@pytest.mark.parametrize("wrong", [0, 3, -1])
def test_a_rare_class_that_the_model_does_not_have_is_named(wrong):
    with pytest.raises(InputError, match=rf"'recipe\.rare_labels' names class {wrong}; the model's are 1 to 2"):
        Rarity([1, wrong], 3.0, 3)
