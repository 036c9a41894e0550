"""A posterior below the output layer, on a whole network: what it adds, what it leaves, and what it is fitted to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.backbones import AttentionUNetBackbone, DynUNetBackbone
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.heads import make_head
from uncertaintyseg.heads.laplace.recursion import diagonal_ggn
from uncertaintyseg.logits import GaussianLogits
from uncertaintyseg.segmenter import Segmenter

FLAT = {"kernels": [[3, 3, 1]] * 3, "strides": [[1, 1, 1], [2, 2, 1], [2, 2, 1]]}
"""As a network of slices is kept."""


def build(depth: int = 2, head: str = "laplace", classes: int = 3, width: float = 1e-3, **options: object) -> Segmenter:
    torch.manual_seed(0)
    if head == "laplace":
        options = {"draws": 3} | options
    backbone = DynUNetBackbone(filters=(3, 4, 4), **options.pop("backbone", {})).requires_grad_(False)
    network = Segmenter(backbone, head, classes, depth=depth, **options).eval()
    torch.nn.init.normal_(network.head.mean.weight)
    laplace = network.head if head == "laplace" else network.head.laplace
    if depth > 1:
        laplace.deeper.variance.copy_(width * torch.rand(laplace.deeper.variance.shape))
    return network


def image(size: tuple[int, ...] = (8, 8, 4), seed: int = 0) -> torch.Tensor:
    return torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed))


def jacobian(network: Segmenter, scan: torch.Tensor) -> np.ndarray:
    """D logits / d weights of the deeper layers, `[C, N, P]`, by autograd through the whole network."""
    deeper, tail = network.head.deeper, network.head.tail
    _, entered = network.backbone.above(tail, scan)

    def logits(weights: dict[str, torch.Tensor]) -> torch.Tensor:
        return network.head.mean(torch.func.functional_call(tail, weights, entered))[0].flatten(1)

    found = torch.func.jacrev(logits)(deeper.weights())
    return torch.cat([part.flatten(2) for part in found.values()], 2).detach().numpy()


@pytest.mark.parametrize(("depth", "flat"), [(2, {}), (3, FLAT)])
def test_each_draw_moves_the_logits_as_the_jacobian_of_the_whole_network_says(depth, flat):
    network = build(depth, draws=4, backbone=flat)
    with torch.no_grad():
        _, noise = network.head.apart(network.extract(image())[0])
        drawn = network.head.deeper._drawn(network.head.deeper.weights())
    draws = torch.stack([torch.cat([part.flatten() for part in one.values()]) for one in drawn]).numpy()
    wanted = jacobian(network, image()) @ draws.T / 2
    assert np.abs(noise.factor[0].flatten(2).movedim(1, 2).numpy() - wanted).max() < 1e-4 * np.abs(wanted).max()


def test_draws_have_the_variance_of_each_weight_and_nothing_in_common():
    deeper = build(draws=4000).head.deeper
    draws = torch.stack([one["0.conv.weight"].flatten() for one in deeper._drawn(deeper.weights())])
    spread = draws.T.cov() / torch.outer(deeper.variance, deeper.variance).sqrt()
    assert (spread - torch.eye(len(spread))).abs().max() < 0.1  # six standard errors


def test_a_narrow_posterior_widens_logits_as_networks_of_drawn_weights_do():
    """The same draws, one through the weights and one to first order."""
    network = build(width=1e-6, draws=4)
    with torch.no_grad():
        _, noise = network.head.apart(network.extract(image())[0])
        deeper, tail = network.head.deeper, network.head.tail
        weights, entered = deeper.weights(), network.backbone.above(tail, image())[1]
        plain = network.head.mean(tail(entered))
        for r, draw in enumerate(deeper._drawn(weights)):
            changed = {name: weight + draw[name] for name, weight in weights.items()}
            moved = network.head.mean(torch.func.functional_call(tail, changed, entered)) - plain
            away = (moved / 2 - noise.factor[:, :, r]).abs().mean()
            assert away < 0.02 * moved.abs().mean()  # but for the few voxels that cross a kink


@pytest.mark.parametrize("head", ["laplace", "l_fusion"])
def test_the_label_stays_and_the_spread_grows(head):
    deep, plain = build(head=head), build(1, head=head)
    plain.load_state_dict(deep.state_dict(), strict=False)
    with torch.inference_mode():
        one, other = deep(image()).distribution, plain(image()).distribution
        assert torch.equal(one.mean, other.mean)
        assert (one.covariance.marginal().dense() - other.covariance.marginal().dense()).diagonal(0, 2, 3).min() >= 0
        assert one.moments().variance.sum() > other.moments().variance.sum()
        assert one.coherent


def test_the_parts_that_the_logits_have_in_l_fusion_are_those_of_the_laplace_head():
    fusion = build(head="l_fusion")
    base = {"base": "low_rank", "base_options": {"rank": 10}, "split": False, "draws": 20}
    alone = build(**base)
    alone.head.load_state_dict(fusion.head.laplace.state_dict())
    alone.backbone.load_state_dict(fusion.backbone.state_dict())
    with torch.inference_mode():
        found, wanted = (net(image()).distribution.moments().stacked() for net in (fusion, alone))
        assert torch.equal(found, wanted)
        assert fusion(image()).maps["expected_pairwise_kl"].isfinite().all()


def test_the_draws_are_the_same_in_every_window_and_their_channels_are_counted():
    network = build()
    with torch.no_grad():
        one, other = (network.extract(image())[0] for _ in range(2))
    assert torch.equal(one, other)
    assert network.features == one.shape[1] == 3 + 3 * network.head.draws


def stream(network: Segmenter, seeds: range) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator, found = torch.Generator().manual_seed(3), []
    for seed in seeds:
        p = (network.head.mean(network.backbone(image(seed=seed))) / 3).softmax(1).movedim(1, -1)
        label = torch.multinomial(p.flatten(0, -2), 1, generator=generator).reshape(p.shape[:-1])
        label[:, 0] = -1
        found.append((seed, label))
    return found


class Read:
    """As `WindowedFeatures` reads a network: anew each time."""

    def __init__(self, network: Segmenter, labels: list, *, below: bool = False) -> None:
        self.network, self.labels, self.below = network, labels, below

    def __iter__(self):
        for seed, label in self.labels:
            tail = self.network.head.tail
            inside = self.network.backbone.above(tail, image(seed=seed))[1] if self.below else None
            yield (inside if self.below else self.network.extract(image(seed=seed))[0]), label


@torch.no_grad()
def test_the_fit_takes_the_curvature_of_labelled_voxels_and_chooses_a_width_that_does_not_hurt():
    network = build()
    labels, others = stream(network, range(2)), stream(network, range(2, 4))
    report = network.head.fit(Read(network, labels), Read(network, others), Read(network, labels, below=True))
    total = 0
    for seed, label in labels:
        entered = network.backbone.above(network.head.tail, image(seed=seed))[1]
        (part,) = diagonal_ggn(network.head.tail, network.head.mean, entered, label >= 0).values()
        total = total + part.flatten().double()
    wanted = 1 / (report["tempering"] * total + report["deeper_prior_precision"])
    assert torch.allclose(network.head.deeper.variance, wanted.float())
    assert report["validation_nll"] < report["plain_validation_nll"]
    assert report["validation_nll"] < report["output_layer_nll"] + 1e-3
    alone = build(1)
    alone.load_state_dict(network.state_dict(), strict=False)
    shallow = alone.head.fit(Read(alone, labels), Read(alone, others))
    assert shallow["validation_nll"] == report["output_layer_nll"]
    assert shallow["plain_validation_nll"] == report["plain_validation_nll"]


@torch.no_grad()
def test_a_prior_precision_that_is_given_holds_for_all_layers():
    network = build(prior_precision=7.0, tempering=0.5)
    labels = stream(network, range(2))
    report = network.head.fit(Read(network, labels), Read(network, labels), Read(network, labels, below=True))
    assert report["prior_precision"] == report["deeper_prior_precision"] == 7.0
    assert report["tempering"] == 0.5


def test_weights_come_back_from_a_state_and_damaged_ones_are_refused():
    network, other = build(), build(width=0.0)
    assert other.features == 3  # of no width there is nothing to read beside the features
    state = network.state_dict()
    assert not any("tail" in name for name in state)
    other.load_state_dict(state)
    with torch.no_grad():
        assert torch.equal(other.extract(image())[0], network.extract(image())[0])
    state["head.deeper.variance"][0] = -1
    with pytest.raises(BundleError, match="the posterior of the deeper layers holds NaN, infinite or negative"):
        other.load_state_dict(state)


def test_the_tail_gives_the_last_features():
    backbone = DynUNetBackbone(filters=(3, 4, 4), residual=True, dropout=0.5).eval()
    with torch.no_grad():
        for convolutions in (1, 2):
            tail = backbone.tail(convolutions)
            features, entered = backbone.above(tail, image())
            assert torch.allclose(tail(entered), features, atol=1e-6)
            assert sum(isinstance(module, torch.nn.Conv3d) for module in tail.modules()) == convolutions


def test_depths_that_there_are_not_are_refused():
    with pytest.raises(InputError, match="'depth' is 4; on a DynUNet it goes from 1, the output layer, to 3"):
        build(4)
    with pytest.raises(InputError, match="needs a DynUNet that was trained here; AttentionUNetBackbone"):
        Segmenter(AttentionUNetBackbone(filters=(4, 8)), "laplace", 3, depth=2)
    with pytest.raises(BundleError, match="'depth' is 0"):
        make_head("laplace", features=3, classes=2, depth=0)
    with pytest.raises(BundleError, match="chosen by validation_nll alone"):
        make_head("laplace", features=3, classes=2, depth=2, choose="marginal_likelihood")
    assert isinstance(build(1)(image()).distribution, GaussianLogits)
