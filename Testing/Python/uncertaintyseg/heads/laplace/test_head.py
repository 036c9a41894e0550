"""The Laplace head: what it is fitted to, what it keeps of its base, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import make_head
from uncertaintyseg.heads.laplace import LaplaceHead
from uncertaintyseg.heads.laplace.choice import HeldOut, cheapest
from uncertaintyseg.heads.laplace.head import block_of
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.logits.weight_noise import WeightNoise

FEATURES = 5
STRUCTURES = ("full", "kronecker", "diagonal")
every_structure = pytest.mark.parametrize("structure", STRUCTURES)


def build(classes: int = 2, **options: object) -> LaplaceHead:
    torch.manual_seed(0)
    head = make_head("laplace", features=FEATURES, classes=classes, **options)
    torch.nn.init.normal_(head.mean.weight)
    return head.eval()


def volumes(head: LaplaceHead, count: int, seed: int, doubt: float = 2.0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Features and labels; the head is `doubt` times as sure of them as it should be."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for _ in range(count):
        features = torch.randn(1, FEATURES, 9, 6, 7, generator=generator)
        with torch.no_grad():
            p = (head.mean(features) / doubt).softmax(1).movedim(1, -1)
        out.append((features, torch.multinomial(p.flatten(0, -2), 1, generator=generator).reshape(p.shape[:-1])))
    return out


def fitted(classes: int = 2, **options: object) -> tuple[LaplaceHead, dict[str, float]]:
    head = build(classes, **options)
    return head, head.fit(volumes(head, 3, 1), volumes(head, 2, 2))


@every_structure
@pytest.mark.parametrize("classes", [2, 3])
def test_the_posterior_of_an_overconfident_network_lowers_its_validation_nll(structure, classes):
    head, report = fitted(classes, structure=structure)
    assert report["validation_nll"] < report["plain_validation_nll"] - 1e-3
    assert report["training_voxels"] == 3 * 9 * 6 * 7
    features, target = volumes(head, 1, 3)[0]
    plain = head.base(features).distribution.negative_log_likelihood(target).mean()
    assert head(features).distribution.negative_log_likelihood(target).mean() < plain


@every_structure
def test_both_ways_to_choose_report_both_numbers(structure):
    by_nll, by_evidence = (
        fitted(structure=structure, choose=way)[1] for way in ("validation_nll", "marginal_likelihood")
    )
    assert by_nll.keys() == by_evidence.keys()
    assert by_evidence["tempering"] == 1
    assert by_nll["validation_nll"] <= by_evidence["validation_nll"]
    same = fitted(structure=structure, tempering=1.0, prior_precision=by_evidence["prior_precision"] * 10)[1]
    assert by_evidence["log_marginal_likelihood"] > same["log_marginal_likelihood"]


def test_the_evidence_is_the_laplace_approximation_of_the_marginal_likelihood():
    head, report = fitted(choose="marginal_likelihood", prior_precision=2.0)
    weights = torch.cat([head.mean.weight.flatten(1), head.mean.bias[:, None]], 1).detach().double()
    rows, target = zip(*((f.flatten(2)[0].T, t.flatten()) for f, t in volumes(head, 3, 1)), strict=True)
    rows, target = torch.cat(rows).double(), torch.cat(target)
    augmented = torch.cat([rows, torch.ones(len(rows), 1)], 1)

    def loss(w: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(augmented @ w.T, target, reduction="sum")

    size = weights.numel()
    hessian = torch.autograd.functional.hessian(loss, weights).reshape(size, size)
    precision = hessian + 2.0 * torch.eye(size)
    wanted = -loss(weights) - weights.square().sum() + size / 2 * np.log(2.0) - torch.logdet(precision) / 2
    assert report["log_marginal_likelihood"] == pytest.approx(wanted.item(), rel=1e-5)


@every_structure
def test_fixed_numbers_stay_as_they_are(structure):
    report = fitted(structure=structure, prior_precision=3.0, tempering=0.25)[1]
    assert (report["prior_precision"], report["tempering"]) == (3.0, 0.25)


@every_structure
def test_the_same_data_give_the_same_posterior(structure):
    one, other = (fitted(structure=structure)[0].state_dict() for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


@every_structure
def test_samples_share_their_weights_and_have_the_closed_variance(structure):
    head, _ = fitted(structure=structure)
    features = torch.randn(1, FEATURES, 3, 2, 2)
    distribution = head(features).distribution
    assert head.coherent
    assert distribution.coherent
    batch = head(features.expand(500, -1, -1, -1, -1)).distribution  # weights of its own for each case of it
    draws = torch.cat(list(batch.sample(40, torch.Generator().manual_seed(0))))
    delta = draws[:, 1] - draws[:, 0]
    assert torch.allclose(delta.flatten(1).var(0), distribution.difference()[1][0], rtol=0.05)
    exact = torch.linalg.matrix_rank(delta.flatten(1)[:200] - delta.flatten(1)[:200].mean(0))
    assert exact <= FEATURES + 1


@every_structure
def test_the_mean_is_that_of_the_base(structure):
    head, _ = fitted(3, structure=structure)
    features = torch.randn(1, FEATURES, 3, 2, 2)
    assert torch.equal(head(features).distribution.mean, head.base.mean(features))
    assert head.mean is head.base.mean
    assert {name for name, _ in head.named_parameters()} == {"base.mean.weight", "base.mean.bias"}


@every_structure
@pytest.mark.parametrize("classes", [2, 3])
def test_a_stochastic_base_keeps_its_own_noise(structure, classes):
    head, _ = fitted(classes, structure=structure, base="low_rank", base_options={"rank": 2})
    features = torch.randn(1, FEATURES, 3, 2, 2)
    own = head.base(features).distribution.covariance.marginal().dense()
    total = head(features).distribution.covariance.marginal().dense()
    added = head.posterior.noise(features).marginal().dense()
    assert torch.allclose(total, own + added, atol=1e-5)
    assert head.source == "total"
    assert build().source == "epistemic"


def test_the_split_is_there_only_where_the_base_has_noise_of_its_own():
    features = torch.randn(1, FEATURES, 3, 2, 2)
    head = build(3, base="low_rank", base_options={"rank": 2})
    assert set(head(features).maps) == set(head.extra_maps())
    assert "aleatoric_entropy" in head.extra_maps()
    for plain in (build(3), build(3, base="low_rank", split=False)):
        assert plain(features).maps == plain.extra_maps() == {}
    assert head.train()(features).maps == {}


@every_structure
def test_a_fitted_posterior_survives_a_file(structure, tmp_path):
    head, _ = fitted(3, structure=structure)
    save_file(head.state_dict(), tmp_path / "head.safetensors")
    other = build(3, structure=structure)
    other.load_state_dict(load_file(tmp_path / "head.safetensors"))
    features = torch.randn(1, FEATURES, 3, 2, 2)
    assert torch.equal(*(h(features).distribution.moments().stacked() for h in (head, other)))


@every_structure
def test_a_posterior_with_nan_is_refused_at_the_door(structure):
    head = build(3, structure=structure)
    state = head.state_dict()
    name = next(name for name in state if name.startswith("posterior."))
    state[name].view(-1)[0] = torch.nan
    with pytest.raises(BundleError, match=r"posterior's '\w+' holds NaN.*fit the model again"):
        build(3, structure=structure).load_state_dict(state)


def test_a_negative_variance_is_refused_at_the_door():
    state = build(structure="diagonal").state_dict()
    state["posterior.variance"][0, 0] = -1e-3
    with pytest.raises(BundleError, match="negative"):
        build(structure="diagonal").load_state_dict(state)


@every_structure
def test_a_singular_posterior_is_refused(structure):
    head = build(structure=structure, prior_precision=0.0, tempering=1.0)
    training = [(torch.cat([f[:, :-1], torch.zeros_like(f[:, :1])], 1), t) for f, t in volumes(head, 2, 1)]
    with pytest.raises(InputError, match="the posterior is singular"):
        head.fit(training, volumes(head, 1, 2))


def test_without_voxels_there_is_no_posterior():
    head = build()
    with pytest.raises(InputError, match="training set is empty"):
        head.fit([], volumes(head, 1, 2))
    with pytest.raises(InputError, match="validation set is empty"):
        head.fit(volumes(head, 1, 2), [])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"structure": "block"}, "no posterior structure 'block'"),
        ({"choose": "luck"}, "'choose' is 'luck'"),
        ({"base": "temperature"}, "'base': the head 'temperature' is fitted itself"),
        ({"base": "nonsense"}, "there is no head 'nonsense'"),
        ({"prior_precision": -1.0}, "'prior_precision' is -1"),
        ({"tempering": 0.0}, "'tempering' is 0"),
    ],
)
def test_options_that_make_no_posterior_are_named(options, message):
    with pytest.raises(BundleError, match=message):
        build(**options)


@pytest.mark.parametrize("base", ["deterministic", "low_rank"])
def test_held_out_voxels_score_as_the_whole_volumes_do(base):
    head = build(3, base=base)
    stream = volumes(head, 2, 4)
    held = HeldOut(head.base, stream, voxels=10**6)
    with torch.no_grad():
        wanted = [head.base(f).distribution.negative_log_likelihood(t).flatten() for f, t in stream]
        both = [head(f).distribution.negative_log_likelihood(t).flatten() for f, t in stream]
        assert held.nll() == pytest.approx(float(torch.cat(wanted).mean()), abs=1e-6)
        noise = head.posterior.noise(held.features)
        assert isinstance(noise, WeightNoise)
        assert held.nll(noise) == pytest.approx(float(torch.cat(both).mean()), abs=1e-6)
        few = HeldOut(head.base, stream, voxels=100)
        assert few.target.numel() == 100
        assert few.nll() == pytest.approx(held.nll(), abs=0.4)


def test_the_cheapest_pair_is_found_between_the_points_of_the_grid():
    def cost(tempering: float, precision: float) -> float:
        return (np.log10(tempering) + 2.3) ** 2 + (np.log10(precision) - 1.8) ** 2

    tempering, precision = cheapest(cost, [1, 0.1, 0.01, 0.001], [1, 10, 100, 1000])
    assert abs(np.log10(tempering) + 2.3) <= 0.125
    assert abs(np.log10(precision) - 1.8) <= 0.125
    assert cheapest(cost, [1.0], [10.0]) == (1.0, 10.0)


def test_gaussian_logits_are_what_comes_out():
    assert isinstance(build()(torch.randn(1, FEATURES, 2, 2, 2)).distribution, GaussianLogits)


@pytest.mark.parametrize(("classes", "structure"), [(2, "full"), (16, "full"), (17, "kronecker"), (118, "kronecker")])
def test_many_classes_get_a_posterior_that_does_not_grow_with_their_square(classes, structure):
    assert LaplaceHead(4, classes).structure == structure
    assert LaplaceHead(4, classes, structure="diagonal").structure == "diagonal"
    assert 8 * classes**2 * block_of(classes) <= 2**28 < 8 * classes**2 * (block_of(classes) + 1)
