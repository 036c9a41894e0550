"""Dice of several kinds and the volume's error, against their formulas in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.heads import HeadOutput
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.training.objectives import HeadLoss
from uncertaintyseg.training.region_losses import make_dice, relative_volume_error

SHAPE = (6, 5, 4)


def example(classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of two volumes, and labels that hold every class."""
    generator = torch.Generator().manual_seed(classes)
    logits = 2 * torch.randn(2, classes, *SHAPE, generator=generator, dtype=torch.float64)
    return logits, torch.randint(classes, (2, 1, *SHAPE), generator=generator)


def by_class(classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and one-hot labels `[C, voxels]` of the example, the batch as one."""
    logits, target = example(classes)
    p = logits.softmax(1).movedim(1, 0).flatten(1).numpy()
    return p, np.eye(classes)[target.flatten().numpy()].T


def oracle(kind: str, p: np.ndarray, y: np.ndarray) -> float:
    if kind == "generalised":
        w = 1 / y.sum(1) ** 2
        return 1 - 2 * (w * (p * y).sum(1)).sum() / (w * (p + y).sum(1)).sum()
    p, y = p[1:], y[1:]
    if kind == "squared":
        return float(np.mean(1 - 2 * (p * y).sum(1) / (p**2 + y**2).sum(1)))
    if kind == "semimetric":
        return float(np.mean(1 - ((p + y).sum(1) - np.abs(p - y).sum(1)) / (p + y).sum(1)))
    return float(np.mean(1 - 2 * (p * y).sum(1) / (p + y).sum(1)))


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("kind", ["soft", "squared", "semimetric", "generalised"])
def test_each_kind_of_dice_is_its_formula_over_the_whole_batch(kind, classes):
    logits, target = example(classes)
    found = make_dice(kind)(logits.softmax(1), target)
    assert found.item() == pytest.approx(oracle(kind, *by_class(classes)), abs=1e-5)


def test_for_labels_of_0_and_1_the_semimetric_is_soft_dice():
    logits, target = example(3)
    soft, semimetric = (make_dice(kind)(logits.softmax(1), target).item() for kind in ("soft", "semimetric"))
    assert semimetric == pytest.approx(soft, rel=1e-12)


@pytest.mark.parametrize("kind", ["soft", "squared", "semimetric", "generalised"])
def test_every_kind_is_0_for_the_truth_and_grows_from_there(kind):
    target = example(3)[1]
    truth = torch.nn.functional.one_hot(target[:, 0], 3).movedim(-1, 1).double()
    assert make_dice(kind)(truth, target).item() == pytest.approx(0, abs=1e-5)
    assert make_dice(kind)(0.8 * truth + 0.2 / 3, target).item() > 0.01


@pytest.mark.parametrize("kind", [None, "soft", "squared", "semimetric", "generalised"])
def test_the_kind_that_is_asked_for_is_the_one_in_the_loss(kind):
    logits, target = example(3)
    parts = HeadLoss("marginal_nll", dice_weight=0.5, dice=kind).parts(HeadOutput(GaussianLogits(logits)), target)
    assert parts["dice"].item() == pytest.approx(0.5 * oracle(kind or "soft", *by_class(3)), abs=1e-5)


def test_none_leaves_the_cross_entropy_alone():
    logits, target = example(3)
    parts = HeadLoss("marginal_nll", dice="none").parts(HeadOutput(GaussianLogits(logits)), target)
    assert parts.keys() == {"marginal_nll"}
    assert HeadLoss("hybrid", dice="none").parts(HeadOutput(GaussianLogits(logits)), target).keys() == {"hybrid"}


def test_another_dice_takes_the_place_and_the_share_of_that_of_the_hybrid_loss():
    logits, target = example(3)
    parts = HeadLoss("hybrid", dice="soft").parts(HeadOutput(GaussianLogits(logits)), target)
    assert parts["dice"].item() == pytest.approx(0.4 * oracle("soft", *by_class(3)), abs=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_error_of_the_volume_is_a_mean_over_structures(classes):
    logits, target = example(classes)
    p, y = by_class(classes)
    wanted = np.mean(np.abs(p[1:].sum(1) - y[1:].sum(1)) / y[1:].sum(1))
    assert relative_volume_error(logits.softmax(1), target).item() == pytest.approx(wanted)
    parts = HeadLoss("marginal_nll", volume_weight=0.3).parts(HeadOutput(GaussianLogits(logits)), target)
    assert parts["volume"].item() == pytest.approx(0.3 * wanted)


def test_structures_that_a_batch_lacks_have_no_volume_to_be_wrong_about():
    logits, target = example(4)
    target = target.where(target != 2, 0)
    p, y = logits.softmax(1).movedim(1, 0).flatten(1).numpy(), np.eye(4)[target.flatten().numpy()].T
    wanted = np.mean([abs(p[c].sum() - y[c].sum()) / y[c].sum() for c in (1, 3)])
    assert relative_volume_error(logits.softmax(1), target).item() == pytest.approx(wanted)
    assert relative_volume_error(logits.softmax(1), torch.zeros_like(target)).item() == 0


def test_the_error_of_the_volume_pulls_what_is_too_large_down():
    logits, target = torch.zeros(1, 2, *SHAPE, requires_grad=True), torch.zeros(1, 1, *SHAPE, dtype=torch.long)
    target[..., :1, :1, :1] = 1
    relative_volume_error(logits.softmax(1), target).backward()
    assert (logits.grad[:, 1] > 0).all()


@pytest.mark.parametrize("kind", ["soft", "squared", "semimetric", "generalised"])
def test_voxels_without_a_verdict_count_in_no_dice_and_no_volume(kind):
    logits, target = example(3)
    p, y = by_class(3)
    unknown = np.random.default_rng(0).random(y.shape[1]) < 0.3
    target = target.masked_fill(torch.from_numpy(unknown).view_as(target), IGNORED)
    loss = HeadLoss("marginal_nll", dice=kind, volume_weight=1.0)
    parts = loss.parts(HeadOutput(GaussianLogits(logits)), target)
    p, y = p[:, ~unknown], y[:, ~unknown]
    assert parts["dice"].item() == pytest.approx(oracle(kind, p, y), abs=1e-5)
    wanted = np.mean(np.abs(p[1:].sum(1) - y[1:].sum(1)) / y[1:].sum(1))
    assert parts["volume"].item() == pytest.approx(wanted)
