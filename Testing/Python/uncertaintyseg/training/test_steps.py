"""Epochs of so many steps: what comes depends on the seed alone."""

from __future__ import annotations

import numpy as np
import torch
from monai.transforms import Compose, RandGaussianNoised

from uncertaintyseg.training.steps import StepLoader

CASES = [{"image": torch.full((1, 4, 4, 4), float(i)), "label": torch.full((1, 4, 4, 4), float(i))} for i in range(4)]


def loader(threads: int = 1, weights: list[float] | None = None, steps: int = 5) -> StepLoader:
    noisy = Compose([RandGaussianNoised(keys="image", prob=1.0, std=0.1)])
    return StepLoader(CASES, noisy, weights, steps=steps, batch_size=2, threads=threads)


def epoch(loader: StepLoader, seed: int) -> torch.Tensor:
    loader.seed = seed
    return torch.stack([batch["image"] for batch in loader])


def test_an_epoch_is_so_many_batches():
    assert len(loader()) == 5
    assert epoch(loader(), 0).shape == (5, 2, 1, 4, 4, 4)


def test_the_same_seed_gives_the_same_batches_whatever_was_before_and_however_many_threads():
    one, four = loader(), loader(threads=4)
    epoch(four, 3)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002 - what others draw does not matter
    assert torch.equal(epoch(one, 1), epoch(four, 1))
    assert not torch.equal(epoch(one, 1), epoch(one, 2))


def test_what_the_network_draws_meanwhile_is_left_alone():
    torch.manual_seed(0)
    wanted = torch.rand(10)
    torch.manual_seed(0)
    drawn = torch.cat([torch.rand(2) for _ in loader(threads=3)])
    assert torch.equal(drawn, wanted)


def test_cases_are_drawn_as_often_as_their_weights_say():
    many = loader(weights=[1, 1, 2, 0], steps=1000)
    found = np.concatenate([batch["label"][:, 0, 0, 0, 0].numpy() for batch in many]).astype(int)
    np.testing.assert_allclose(np.bincount(found, minlength=4) / 2000, [0.25, 0.25, 0.5, 0], atol=0.04)


def test_an_epoch_that_is_left_early_leaves_nothing_running():
    started = iter(loader(threads=2, steps=1000))
    next(started)
    started.close()
    assert epoch(loader(), 0).shape[0] == 5
