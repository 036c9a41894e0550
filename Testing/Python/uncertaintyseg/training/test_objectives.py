"""Objectives: closed forms against their samples, and the loss made of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy
import torch
from monai.losses import DiceLoss, FocalLoss

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HeadOutput, make_head
from uncertaintyseg.logits import Diagonal, GaussianLogits, LowRank, Sum
from uncertaintyseg.training.objectives import (
    OBJECTIVES,
    HeadLoss,
    cross_entropy_and_focal,
    expected_cross_entropy,
    marginal_nll,
    sampled_cross_entropy,
    sampled_marginal_nll,
    ssn_joint,
)

SHAPE = (8, 8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def distribution(classes: int, std: float = 1.0) -> GaussianLogits:
    """Correlated between voxels and classes."""
    mean = 2 * torch.randn(2, classes, *SHAPE, generator=generator(1), dtype=torch.float64)
    factor = std * torch.randn(2, classes, 2, *SHAPE, generator=generator(2), dtype=torch.float64)
    return GaussianLogits(mean, Sum(LowRank(factor), Diagonal(torch.full_like(mean, std**2))))


def target(classes: int) -> torch.Tensor:
    return torch.randint(classes, (2, *SHAPE), generator=generator(3))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_expected_cross_entropy_is_the_mean_of_samples(classes):
    closed = expected_cross_entropy(distribution(classes), target(classes))
    sampled = sampled_cross_entropy(distribution(classes), target(classes), 2000, generator())
    assert closed.item() == pytest.approx(sampled.item(), rel=0.01)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_marginal_likelihood_is_the_limit_of_samples(classes):
    closed = marginal_nll(distribution(classes), target(classes))
    sampled = sampled_marginal_nll(distribution(classes), target(classes), 2000, generator())
    assert closed.item() == pytest.approx(sampled.item(), rel=0.015)
    assert sampled_marginal_nll(distribution(classes), target(classes), 5, generator()) > closed


@pytest.mark.parametrize("classes", [2, 3])
def test_the_likelihood_is_at_least_what_expected_cross_entropy_says(classes):
    assert marginal_nll(distribution(classes), target(classes)) < expected_cross_entropy(
        distribution(classes), target(classes)
    )


def test_the_joint_likelihood_of_one_voxel_is_the_marginal_one():
    """With noise that voxels do not share the SSN loss estimates the marginal likelihood (METHODS 12)."""
    mean = torch.randn(400, 2, 1, 1, 1, generator=generator(1), dtype=torch.float64)
    single = GaussianLogits(mean, Diagonal(torch.ones_like(mean)))
    labels = torch.randint(2, (400, 1, 1, 1), generator=generator(2))
    joint = ssn_joint(single, labels, samples=2000, generator=generator())
    assert joint.item() == pytest.approx(marginal_nll(single, labels).item(), rel=5e-3)


def test_the_joint_likelihood_is_that_of_its_antithetic_samples():
    given, labels = distribution(3), target(3)
    draws = list(given.sample(2, generator()))
    draws += [2 * given.mean - draw for draw in draws]
    log_likelihood = torch.stack([draw.log_softmax(1).gather(1, labels[:, None]).flatten(1).sum(1) for draw in draws])
    wanted = -(log_likelihood.logsumexp(0) - math.log(4)).mean() / math.prod(SHAPE)
    assert ssn_joint(given, labels, samples=4, generator=generator()).item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(("objective", "estimator"), [name for name in OBJECTIVES if name[0] != "hybrid"])
def test_without_noise_every_objective_is_the_cross_entropy(classes, objective, estimator):
    mean = 3 * torch.randn(2, classes, *SHAPE, generator=generator(1))
    loss = HeadLoss(objective, estimator, dice_weight=0.0)(HeadOutput(GaussianLogits(mean)), target(classes)[:, None])
    terms = 2 if objective == "ssn_joint_marginal" else 1
    plain = torch.nn.functional.cross_entropy(mean, target(classes))
    assert loss.item() == pytest.approx(terms * plain.item(), rel=1e-4)


def test_dice_is_taken_of_the_expected_probability():
    given = distribution(2, std=2.0)
    parts = HeadLoss("marginal_nll", dice_weight=0.5).parts(HeadOutput(given), target(2)[:, None])
    dice = DiceLoss(include_background=False, to_onehot_y=True, batch=True)
    assert parts["dice"].item() == pytest.approx(0.5 * dice(given.moments().probability, target(2)[:, None]).item())
    draws = [dice(draw.softmax(1), target(2)[:, None]).item() for draw in given.sample(200, generator())]
    assert 2 * parts["dice"].item() == pytest.approx(sum(draws) / len(draws), abs=0.01)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("weights", [None, "given"])
def test_the_hybrid_loss_is_what_the_thesis_writes_down(classes, weights):
    mean = 2 * torch.randn(2, classes, *SHAPE, generator=generator(1), dtype=torch.float64)
    p = scipy.special.softmax(mean.numpy(), axis=1)
    y = np.moveaxis(np.eye(classes)[target(classes).numpy()], -1, 1)
    w = np.ones(classes) if weights is None else np.arange(1.0, classes + 1)
    own = (p * y).sum(1)
    overlap, size = (value.sum((0, 2, 3, 4)) for value in (p * y, p**2 + y**2))
    dice = 1 - (w * (2 * overlap + 1e-6) / (size + 1e-6)).sum() / w.sum()
    wanted = 0.4 * -np.log(own).mean() + 0.2 * ((1 - own) ** 2 * -np.log(own)).mean() + 0.4 * dice
    loss = HeadLoss("hybrid", class_weights=None if weights is None else w.tolist())
    found = loss(HeadOutput(GaussianLogits(mean)), target(classes)[:, None])
    assert found.item() == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_the_focal_term_is_that_of_monai_summed_over_classes(classes):
    mean = 2 * torch.randn(2, classes, *SHAPE, generator=generator(1), dtype=torch.float64)
    focal = FocalLoss(gamma=2.0, use_softmax=True, to_onehot_y=True)(mean, target(classes)[:, None]) * classes
    plain = torch.nn.functional.cross_entropy(mean, target(classes))
    found = cross_entropy_and_focal(GaussianLogits(mean), target(classes))
    assert found.item() == pytest.approx((0.4 * plain + 0.2 * focal).item(), rel=1e-4)


def test_cross_entropy_and_focal_loss_take_a_weight_for_each_class():
    mean = 2 * torch.randn(2, 3, *SHAPE, generator=generator(1), dtype=torch.float64)
    labels = target(3)
    labels[0, :2] = IGNORED
    weights, alpha, gamma = [0.5, 1.0, 3.0], [0.1, 0.4, 2.0], 1.5
    known = (labels != IGNORED).numpy()
    true = labels.numpy()[known]
    own = np.moveaxis(scipy.special.softmax(mean.numpy(), axis=1), 1, -1)[known][np.arange(true.size), true]
    nll, w, a = -np.log(own), np.array(weights)[true], np.array(alpha)[true]
    wanted = 0.4 * (w * nll).sum() / w.sum() + 0.2 * (a * (1 - own) ** gamma * nll).mean()
    hybrid = {"weights": weights, "alpha": alpha, "gamma": gamma}
    parts = HeadLoss("hybrid", hybrid=hybrid).parts(HeadOutput(GaussianLogits(mean)), labels[:, None])
    assert parts["hybrid"].item() == pytest.approx(wanted, rel=1e-6)
    plain = torch.nn.functional.cross_entropy(mean, labels, torch.tensor(weights).double(), ignore_index=IGNORED)
    without = cross_entropy_and_focal(GaussianLogits(mean), labels, weights=weights, alpha=[0, 0, 0])
    assert without.item() == pytest.approx(0.4 * plain.item())


def test_class_weights_are_refused_by_other_objectives():
    with pytest.raises(InputError, match="of the objective 'hybrid', not of 'marginal_nll'"):
        HeadLoss("marginal_nll", hybrid={"alpha": [1, 1]})
    with pytest.raises(InputError, match="of the objective 'hybrid', not of 'expected_ce'"):
        HeadLoss("expected_ce", class_weights=[1, 1])
    with pytest.raises(InputError, match="not of 'generalised'"):
        HeadLoss("hybrid", class_weights=[1, 1], dice="generalised")


@pytest.mark.parametrize("classes", [2, 3])
def test_the_hybrid_loss_of_a_noisy_head_is_that_of_its_expected_probability(classes):
    given, labels = distribution(classes), target(classes)
    found = cross_entropy_and_focal(given, labels)
    draws = torch.stack([draw.softmax(1) for draw in given.sample(2000, generator())]).mean(0)
    own = draws.gather(1, labels[:, None])
    wanted = 0.4 * -own.log().mean() + 0.2 * ((1 - own) ** 2 * -own.log()).mean()
    assert found.item() == pytest.approx(wanted.item(), rel=0.015)


@pytest.mark.parametrize("name", ["deterministic", "low_rank", "mixture_of_bases"])
def test_any_head_learns_from_the_hybrid_loss(name):
    torch.manual_seed(0)
    head = make_head(name, features=4, classes=3).train()
    HeadLoss("hybrid")(head(torch.randn(2, 4, *SHAPE)), target(3)[:, None]).backward()
    gradients = {name: parameter.grad for name, parameter in head.named_parameters()}
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients.values()), gradients
    assert gradients["mean.weight"].abs().max() > 0


def test_the_loss_is_the_sum_of_its_parts():
    head = make_head("mixture_of_bases", features=4, classes=3).train()
    output = head(torch.randn(2, 4, *SHAPE, generator=generator()))
    loss = HeadLoss("marginal_nll")
    parts = loss.parts(output, target(3)[:, None])
    assert parts.keys() == {"marginal_nll", "dice", "kl", "orthogonality", "selection"}
    assert loss(output, target(3)[:, None]).item() == pytest.approx(sum(part.item() for part in parts.values()))


@pytest.mark.parametrize("name", ["deterministic", "low_rank", "mixture_of_bases"])
@pytest.mark.parametrize("classes", [2, 3])
def test_mixed_precision_leaves_the_loss_in_full_precision(name, classes):
    torch.manual_seed(0)
    head, features = make_head(name, features=4, classes=classes), torch.randn(2, 4, *SHAPE)
    output, labels = head(features), target(classes)[:, None]
    loss = [HeadLoss(head.objective, generator=generator()) for _ in range(2)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = loss[0](output, labels)
    assert mixed.item() == pytest.approx(loss[1](output, labels).item(), rel=1e-6)


@pytest.mark.parametrize(
    ("objective", "estimator"), [("ssn_joint", "closed_form"), ("nonsense", None), ("marginal_nll", "magic")]
)
def test_an_objective_that_does_not_exist_is_refused_with_those_that_do(objective, estimator):
    with pytest.raises(InputError, match=rf"'{objective}'.*there are expected_ce \(closed_form\).*ssn_joint \(mc\)"):
        HeadLoss(objective, estimator)


def test_the_closed_form_is_preferred_where_it_exists():
    assert HeadLoss("marginal_nll").estimator == "closed_form"
    assert HeadLoss("ssn_joint").estimator == "mc"


def test_samples_may_be_asked_for_by_number():
    output, labels = HeadOutput(distribution(2)), target(2)[:, None]
    for samples in (2, 8):
        found = HeadLoss("expected_ce", "mc", 0.0, samples, generator())(output, labels)
        wanted = sampled_cross_entropy(distribution(2), target(2), samples, generator())
        assert found.item() == pytest.approx(wanted.item())


@pytest.mark.parametrize("objective", ["marginal_nll", "expected_ce"])
def test_a_point_mass_over_many_classes_has_the_cross_entropy_of_torch_and_needs_no_nodes(objective):
    """200 classes over a million numbers: differences and nodes would take gigabytes."""
    mean = torch.randn(1, 200, 16, 16, 16, generator=generator(1), requires_grad=True)
    truth = torch.randint(200, (1, 16, 16, 16), generator=generator(2))
    loss = HeadLoss(objective, "closed_form", dice_weight=0.0)(HeadOutput(GaussianLogits(mean)), truth[:, None])
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(mean, truth).item(), rel=1e-5)
    loss.backward()
    assert mean.grad.abs().sum() > 0


def dice_by_hand(probability: np.ndarray, labels: np.ndarray) -> float:
    """1 - the mean over structures of 2 sum p y / (sum p + sum y), sums over the batch."""
    found = []
    for c in range(1, probability.shape[1]):
        p, y = probability[:, c], labels == c
        found.append(2 * (p * y).sum() / (p.sum() + y.sum()))
    return 1 - float(np.mean(found))


@pytest.mark.parametrize("classes", [2, 3, 4])
def test_by_samples_the_dice_is_that_of_the_samples(classes):
    """MoB eq. 12: the mean over k draws of cross-entropy and Dice, of the same draws."""
    loss = HeadLoss("expected_ce", "mc", samples=3, generator=generator())
    found = loss.parts(HeadOutput(distribution(classes)), target(classes)[:, None])
    draws = [draw.softmax(1).numpy() for draw in distribution(classes).sample(3, generator())]
    labels = target(classes).numpy()
    assert found["dice"].item() == pytest.approx(np.mean([dice_by_hand(p, labels) for p in draws]), abs=1e-4)
    own = [-np.log(np.take_along_axis(p, labels[:, None], 1)).mean() for p in draws]
    assert found["expected_ce"].item() == pytest.approx(np.mean(own))
    loss = HeadLoss("marginal_nll", "mc", samples=3, generator=generator())
    found = loss.parts(HeadOutput(distribution(classes)), target(classes)[:, None])
    assert found["dice"].item() == pytest.approx(dice_by_hand(np.mean(draws, 0), labels), abs=1e-4)


@pytest.mark.parametrize("objective", ["expected_ce", "marginal_nll"])
@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("head", ["diagonal", "single_basis", "mixture_of_bases"])
def test_the_gradient_of_a_dice_by_samples_reaches_the_variance(objective, classes, head):
    torch.manual_seed(0)
    network = make_head(head, features=4, classes=classes)
    output = network(torch.randn(2, 4, *SHAPE))
    loss = HeadLoss(objective, "mc", samples=2, generator=generator())
    loss.parts(output, target(classes)[:, None])["dice"].backward()
    assert network.log_variance.weight.grad.abs().max() > 0
    if head != "diagonal":
        assert network.amplitude.weight.grad.abs().max() > 0


def test_in_closed_form_it_does_not_at_three_classes():
    network = make_head("diagonal", features=4, classes=3)
    output = network(torch.randn(2, 4, *SHAPE))
    HeadLoss("expected_ce").parts(output, target(3)[:, None])["dice"].backward()
    assert network.log_variance.weight.grad is None


def test_unlabelled_voxels_are_left_out_of_a_dice_by_samples():
    labels = target(3)
    labels[:, :4] = -1
    loss = HeadLoss("expected_ce", "mc", samples=2, generator=generator())
    found = loss.parts(HeadOutput(distribution(3)), labels[:, None])
    draws = [draw.softmax(1).numpy()[:, :, 4:] for draw in distribution(3).sample(2, generator())]
    joined = [p.swapaxes(0, 1).reshape(1, 3, -1) for p in draws]  # the known voxels of a batch are one row
    expected = np.mean([dice_by_hand(p, labels[:, 4:].numpy().reshape(1, -1)) for p in joined])
    assert found["dice"].item() == pytest.approx(expected, abs=1e-4)


def test_a_number_of_samples_needs_samples():
    with pytest.raises(InputError, match="--estimator mc"):
        HeadLoss("marginal_nll", samples=3)
    assert HeadLoss("ssn_joint", samples=3)._options["samples"] == 3
