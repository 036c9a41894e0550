"""Voxels of which nobody said what they are: losses are those of the labelled voxels alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.heads import HEADS, HeadOutput, make_head
from uncertaintyseg.heads.laplace.choice import HeldOut
from uncertaintyseg.heads.segwithu import losses
from uncertaintyseg.logits import Diagonal, GaussianLogits
from uncertaintyseg.training.objectives import HYBRID, OBJECTIVES, HeadLoss, ssn_joint
from uncertaintyseg.training.sampling import Rarity, class_weights
from uncertaintyseg.training.validation import Scores

SHAPE = (8, 6, 4)
FEATURES, CLASSES = 5, 3
TRAINED = sorted(name for name, head in HEADS.items() if not head.fitted)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def target(batch: int = 2) -> torch.Tensor:
    """Class indices `[B, 1, *SHAPE]`, nearly a third of them not known."""
    labels = torch.randint(CLASSES, (batch, 1, *SHAPE), generator=generator(3))
    return labels.masked_fill(torch.rand(labels.shape, generator=generator(4)) < 0.3, IGNORED)


def logits(batch: int = 2) -> torch.Tensor:
    return 2 * torch.randn(batch, CLASSES, *SHAPE, generator=generator(1), dtype=torch.float64)


def in_a_row(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """The known voxels as a volume of their own, `[1, C, n, 1, 1]`."""
    return values.movedim(1, 0)[:, known][None, ..., None, None]


def loss(objective: str, estimator: str, **options) -> HeadLoss:
    return HeadLoss(objective, estimator, samples=4 if estimator == "mc" else None, generator=generator(), **options)


@pytest.mark.parametrize(("objective", "estimator"), [key for key in OBJECTIVES if key[1] == "closed_form"])
def test_a_loss_and_its_gradient_are_those_of_the_labelled_voxels_alone(objective, estimator):
    mean, variance, labels = logits(), logits().exp(), target()
    known = labels[:, 0] != IGNORED
    whole = [mean.clone().requires_grad_(), variance.clone().requires_grad_()]
    loss(objective, estimator)(HeadOutput(GaussianLogits(whole[0], Diagonal(whole[1]))), labels).backward()
    alone = [in_a_row(part, known).requires_grad_() for part in (mean, variance)]
    expected = loss(objective, estimator)(
        HeadOutput(GaussianLogits(alone[0], Diagonal(alone[1]))), in_a_row(labels, known)
    )
    expected.backward()
    again = loss(objective, estimator)(HeadOutput(GaussianLogits(mean, Diagonal(variance))), labels)
    assert again.item() == pytest.approx(expected.item(), rel=1e-12)
    for part, own in zip(whole, alone, strict=True):
        if own.grad is None:  # plain cross-entropy does not read the variance
            assert part.grad is None
            continue
        torch.testing.assert_close(in_a_row(part.grad, known), own.grad)
        assert not part.grad.movedim(1, 0)[:, ~known].any()


@pytest.mark.parametrize("kind", ["soft", "squared", "semimetric", "generalised"])
def test_every_kind_of_dice_and_the_volume_are_sums_over_the_labelled_voxels(kind):
    mean, labels = logits(), target()
    known = labels[:, 0] != IGNORED
    made = loss("marginal_nll", "closed_form", dice=kind, volume_weight=0.5)
    found = made.parts(HeadOutput(GaussianLogits(mean)), labels)
    expected = made.parts(HeadOutput(GaussianLogits(in_a_row(mean, known))), in_a_row(labels, known))
    assert found.keys() == {"marginal_nll", "dice", "volume"}
    for name, value in found.items():
        assert value.item() == pytest.approx(expected[name].item(), rel=1e-6)


def test_cross_entropy_focal_loss_and_dice_are_sums_over_the_labelled_voxels():
    mean, labels = logits(), target()
    known = labels[:, 0].numpy() != IGNORED
    p = torch.softmax(mean, 1).numpy().transpose(0, 2, 3, 4, 1)[known]
    own = labels[:, 0].numpy()[known]
    y = np.eye(CLASSES)[own]
    nll = -np.log(p[np.arange(len(own)), own])
    said = 1 - np.exp(-nll)
    dice = 1 - (2 * (p * y).sum(0) + 1e-6) / ((p**2).sum(0) + (y**2).sum(0) + 1e-6)
    expected = (
        HYBRID["cross_entropy"] * nll.mean() + HYBRID["focal"] * (said**2 * nll).mean() + HYBRID["dice"] * dice.mean()
    )
    assert loss("hybrid", "closed_form")(HeadOutput(GaussianLogits(mean)), labels).item() == pytest.approx(expected)


@pytest.mark.parametrize(("objective", "estimator"), [key for key in OBJECTIVES if key[1] == "mc"])
def test_losses_by_samples_see_the_labelled_voxels_alone(objective, estimator):
    """Noise that is 0 makes every sample the mean, so that both sides draw the same."""
    mean, labels = logits(), target()
    known = labels[:, 0] != IGNORED
    given = mean.clone().requires_grad_()
    found = loss(objective, estimator)(HeadOutput(GaussianLogits(given, Diagonal(torch.zeros_like(mean)))), labels)
    found.backward()
    alone = in_a_row(mean, known).requires_grad_()
    expected = loss(objective, estimator)(
        HeadOutput(GaussianLogits(alone, Diagonal(torch.zeros_like(alone)))), in_a_row(labels, known)
    )
    expected.backward()
    assert found.item() == pytest.approx(expected.item(), rel=1e-6)
    torch.testing.assert_close(in_a_row(given.grad, known), alone.grad)
    assert not given.grad.movedim(1, 0)[:, ~known].any()


def test_the_joint_likelihood_is_that_of_the_labelled_voxels_of_its_draws():
    distribution, labels = GaussianLogits(logits(), Diagonal(torch.full_like(logits(), 0.5))), target()[:, 0]
    draws = list(distribution.sample(2, generator()))
    draws += [2 * distribution.mean - draw for draw in draws]
    known = labels != IGNORED
    own = [draw.log_softmax(1).gather(1, labels.clamp_min(0)[:, None])[:, 0] * known for draw in draws]
    joint = torch.stack(own).flatten(2).sum(2)
    expected = -(joint.logsumexp(0) - np.log(4)).sum() / known.sum()
    assert ssn_joint(distribution, labels, samples=4, generator=generator()).item() == pytest.approx(expected.item())


@pytest.mark.parametrize(("objective", "estimator"), list(OBJECTIVES))
def test_a_window_without_a_labelled_voxel_changes_nothing(objective, estimator):
    given = logits(1).repeat(2, 1, 1, 1, 1).requires_grad_()
    labels = target(1).repeat(2, 1, 1, 1, 1)
    labels[1] = IGNORED
    loss(objective, estimator)(HeadOutput(GaussianLogits(given)), labels).backward()
    assert given.grad[0].any()
    assert not given.grad[1].any()
    nothing = given.detach().clone().requires_grad_()
    found = loss(objective, estimator)(HeadOutput(GaussianLogits(nothing)), torch.full_like(labels, IGNORED))
    found.backward()
    assert found.item() == 0
    assert not nothing.grad.any()


@pytest.mark.parametrize("name", TRAINED)
def test_a_heads_whole_loss_says_nothing_of_voxels_that_nobody_labelled(name):
    """Whatever such a voxel's features are: the loss and the gradients of the layers stay the same, where it can see
    one voxel at a time."""
    head = make_head(name, features=FEATURES, classes=CLASSES)
    if not head.voxelwise:
        pytest.skip("its answer at one voxel depends on others")
    labels = target()
    features = torch.randn(2, FEATURES, *SHAPE, generator=generator(5))
    others = features.where(labels != IGNORED, torch.randn(features.shape, generator=generator(6)))
    found = []
    for given in (features, others):
        head.zero_grad()
        value = HeadLoss(head.objective, generator=generator())(head.train()(given), labels)
        value.backward()
        found.append([value.detach(), *(p.grad.clone() for p in head.parameters() if p.grad is not None)])
    assert len(found[0]) > 1
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", TRAINED)
def test_a_head_learns_nothing_from_a_batch_without_a_labelled_voxel(name):
    head = make_head(name, features=FEATURES, classes=CLASSES).train()
    output = head(torch.randn(2, FEATURES, *SHAPE, generator=generator(5)))
    value = HeadLoss(head.objective, generator=generator())(output, torch.full((2, 1, *SHAPE), IGNORED))
    value.backward()
    assert value.item() == 0
    assert not any(p.grad is not None and p.grad.any() for p in head.parameters())


@pytest.mark.parametrize("name", TRAINED)
def test_a_head_learns_from_a_few_labelled_voxels(name):
    head = make_head(name, features=FEATURES, classes=CLASSES).train()
    labels = torch.full((2, 1, *SHAPE), IGNORED)
    labels[0, 0, 2:4, 2:4, 1] = 1
    output = head(torch.randn(2, FEATURES, *SHAPE, generator=generator(5)))
    value = HeadLoss(head.objective, generator=generator())(output, labels)
    value.backward()
    gradients = [p.grad for p in head.parameters() if p.grad is not None]
    assert value.isfinite()
    assert any(grad.any() for grad in gradients)
    assert all(grad.isfinite().all() for grad in gradients)


def test_segwithus_terms_are_the_same_whatever_is_at_voxels_that_nobody_labelled():
    labels = target()
    known = labels != IGNORED

    def terms(seed: int) -> dict[str, torch.Tensor]:
        """Another seed: other values at what nobody labelled."""
        channels = (CLASSES, CLASSES, CLASSES, 1, 1, 1, 1)
        same = [torch.rand(2, count, *SHAPE, generator=generator(count)) for count in channels]
        others = [torch.rand(part.shape, generator=generator(seed)) for part in same]
        mixed = (one.where(known, other) for one, other in zip(same, others, strict=True))
        return losses.terms(losses.Probed(*mixed), labels, generator())

    one, other = terms(10), terms(11)
    assert one.keys() == losses.WEIGHTS.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name])


def test_held_out_voxels_of_a_head_that_reads_voxels_together_are_labelled_ones():
    head = make_head("mixture_of_bases", features=FEATURES, classes=CLASSES).eval()
    features, labels = torch.randn(1, FEATURES, *SHAPE, generator=generator(5)), target(1)[:, 0]
    with torch.no_grad():
        held = HeldOut(head, [(features, labels)])
        own = head(features).distribution.negative_log_likelihood(labels.clamp_min(0))
    known = labels != IGNORED
    assert held.target.numel() == known.sum()
    assert held.nll() == pytest.approx(float(own[known].mean()), rel=1e-5)


def test_class_weights_and_rarity_count_no_voxel_that_nobody_labelled():
    label = torch.tensor([[[[0, 0, 1], [1, 2, IGNORED]]]])
    assert class_weights([label], CLASSES) == class_weights([torch.tensor([0, 0, 1, 1, 2])], CLASSES)
    planes = torch.tensor([[[[0, IGNORED, 2, IGNORED]], [[1, IGNORED, 0, 0]]]])
    assert Rarity([2], 3.0, CLASSES).of_slices(planes).tolist() == [1, 0, 3, 1]


def test_validation_scores_leave_out_a_case_without_a_labelled_voxel():
    probability, labels = logits().softmax(1).float(), target()
    alone, both = Scores(CLASSES), Scores(CLASSES)
    alone.update(probability[:1], labels[:1])
    both.update(probability[:1], labels[:1])
    both.update(probability[1:], torch.full_like(labels[1:], IGNORED))
    assert both.compute() == alone.compute()
