"""Dropout that a network has, and dropout that it is given (METHODS 5; golden test 14)."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import UNet
from torch import nn

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.imports.stock import StockNetwork
from uncertaintyseg.inference.passes.base import seeded
from uncertaintyseg.inference.passes.dropout import LAYERS, DropoutInjection, MCDropout
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.segmenter import Segmenter

IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(3))


def segmenter(head: str = "deterministic") -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(DynUNetBackbone(filters=(4, 8, 8)), head, classes=3).eval()


def linear_net(*between: nn.Module, sites: int = 1) -> StockNetwork:
    torch.manual_seed(0)
    return StockNetwork(nn.Sequential(nn.Conv3d(1, 8 * sites, 1), *between, nn.Conv3d(8 * sites, 2, 1)))


def means(passes, image: torch.Tensor = IMAGE) -> torch.Tensor:
    return torch.stack([distribution.mean for distribution in passes.run(image)])


def test_no_dropout_at_all_is_the_network_itself():
    network = segmenter()
    for granularity in ("channel", "element"):
        found = means(DropoutInjection(network, passes=2, p=0.0, granularity=granularity))
        assert torch.equal(found, network(IMAGE).distribution.mean.expand_as(found))


@pytest.mark.parametrize("p", [1e-2, 1e-4, 1e-6])
def test_little_dropout_is_nearly_the_network_itself(p):
    network = segmenter()
    plain = network(IMAGE).distribution.moments().probability
    found = DropoutInjection(network, passes=10, p=p)(IMAGE).distribution.moments().probability
    assert (found - plain).abs().mean() <= 20 * p


@pytest.mark.parametrize("granularity", ["channel", "element"])
def test_rescaled_dropout_of_a_linear_network_is_unbiased(granularity):
    network, image = linear_net(), torch.ones(1, 1, 1, 1, 1)
    draws = means(DropoutInjection(network, passes=2000, p=0.3, granularity=granularity), image)
    plain = network(image).distribution.mean
    error = draws.std(0) / 2000**0.5
    assert ((draws.mean(0) - plain).abs() < 4 * error).all()


def test_the_papers_dropout_shrinks_a_linear_network():
    network, image = linear_net(), torch.ones(1, 1, 1, 1, 1)
    draws = means(DropoutInjection(network, passes=2000, p=0.3, faithful=True), image)
    first, second = network.module
    with torch.no_grad():
        wanted = 0.7 * (0.7 * second.weight.flatten(1) @ first(image).flatten() + second.bias)
    assert torch.allclose(draws.mean(0).flatten(), wanted, atol=0.04)


def test_only_the_papers_dropout_masks_the_output_layer():
    network = segmenter()
    ours = means(DropoutInjection(network, passes=3, p=0.1))
    assert not (ours == 0).any()
    theirs = means(DropoutInjection(network, passes=3, p=0.1, faithful=True))
    assert (theirs == 0).float().mean().item() == pytest.approx(0.1, abs=0.02)


def test_the_head_of_a_segmenter_stays_as_it_is():
    network = segmenter("low_rank")
    layers = DropoutInjection(network).layers(IMAGE)
    every = [part for part in network.backbone.modules() if isinstance(part, LAYERS)]
    assert set(layers) == set(every)
    assert layers[0] is network.backbone.network.input_block.conv1.conv
    assert layers[-1] is network.backbone.network.upsamples[-1].conv_block.conv2.conv


def test_of_another_network_the_layer_that_runs_last_stays_as_it_is():
    class Backwards(nn.Module):
        """Its output layer is registered first."""

        def __init__(self) -> None:
            super().__init__()
            self.out, self.unused, self.body = nn.Conv3d(4, 2, 1), nn.Conv3d(4, 4, 1), nn.Conv3d(1, 4, 1)

        def forward(self, x):
            return self.out(self.body(x))

    net = Backwards()
    assert list(DropoutInjection(StockNetwork(net)).layers(IMAGE)) == [net.body]
    assert list(DropoutInjection(StockNetwork(net), faithful=True).layers(IMAGE)) == [net.body, net.out]


def test_channels_go_as_a_whole_or_values_one_by_one():
    net = nn.Sequential(nn.Conv3d(1, 40, 1), nn.Identity(), nn.Conv3d(40, 2, 1))
    for granularity, shares in (("channel", {0.0, 1.0}), ("element", None)):
        seen = []
        handle = net[1].register_forward_hook(lambda _, inputs, __, seen=seen: seen.append(inputs[0]))
        list(DropoutInjection(StockNetwork(net), passes=2, p=0.4, granularity=granularity, reuse=False).run(IMAGE))
        handle.remove()
        dropped = (seen[-1] == 0).flatten(2).float().mean(2)
        assert dropped.mean().item() == pytest.approx(0.4, abs=0.2)
        assert shares is None or set(dropped.unique().tolist()) == shares
        assert shares is not None or (dropped.min() > 0.3 and dropped.max() < 0.5)


def test_a_linear_layer_has_its_channels_last():
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Linear(1, 30), nn.Linear(30, 2)

        def forward(self, x):
            return self.out(self.embed(x.movedim(1, -1))).movedim(-1, 1)

    network = StockNetwork(Tokens())
    flat = torch.ones(1, 1, 3, 3, 3)
    draws = means(DropoutInjection(network, passes=3, p=0.4), flat)
    assert torch.allclose(draws.amax((3, 4, 5)), draws.amin((3, 4, 5)), atol=1e-5)  # voxels share the mask
    assert draws.var(0).max() > 0


def test_last_thins_the_last_layers_only():
    network = segmenter()
    every = DropoutInjection(network).layers(IMAGE)
    assert list(DropoutInjection(network, last=3).layers(IMAGE)) == list(every[-3:])
    assert list(DropoutInjection(network, last=1000).layers(IMAGE)) == list(every)


WHOLE = (nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.FeatureAlphaDropout)


@pytest.mark.parametrize("kind", [nn.Dropout, *WHOLE, nn.AlphaDropout])
@pytest.mark.parametrize("p", [0.3, 0.8, 1.0])
def test_a_layer_left_on_does_what_it_does_in_training(kind, p):
    spatial = {nn.Dropout1d: (7,), nn.Dropout2d: (4, 5)}.get(kind, (3, 4, 5))
    values = torch.randn(1, 1, *spatial).expand(4000, 6, *spatial)
    layer = kind(p)
    ours = MCDropout(StockNetwork(layer)).thinned(layer, values, seeded(0, values))
    torch.manual_seed(0)
    theirs = layer.train()(values)
    assert torch.allclose(ours.mean((0, 1)), theirs.mean((0, 1)), atol=0.12)
    assert torch.allclose(ours.std((0, 1)), theirs.std((0, 1)), rtol=0.1, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.Dropout, *WHOLE])
def test_a_layer_left_on_drops_what_its_kind_drops(kind):
    values = torch.ones(100, 20, 3, 3, 3) if kind is not nn.FeatureAlphaDropout else torch.zeros(100, 20, 3, 3, 3)
    layer = kind(0.3)
    thinned = MCDropout(StockNetwork(layer)).thinned(layer, values, seeded(0, values))
    dropped = (thinned <= 0).flatten(2).float().mean(2)
    assert dropped.mean().item() == pytest.approx(0.3, abs=0.03)
    assert (set(dropped.unique().tolist()) == {0.0, 1.0}) == (kind in WHOLE)


@pytest.mark.parametrize("make", [lambda n: MCDropout(n, passes=3), lambda n: DropoutInjection(n, passes=3, p=0.2)])
def test_maps_repeat_bit_for_bit_and_leave_the_global_generator_alone(make):
    network = linear_net(nn.Dropout(0.5))
    before = torch.get_rng_state()
    one = make(network)(IMAGE).distribution.moments().stacked()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(make(network)(IMAGE).distribution.moments().stacked(), one)


def test_another_seed_draws_other_masks():
    network = linear_net(nn.Dropout(0.5))
    one, two = (means(MCDropout(network, passes=3, seed=seed)) for seed in (0, 1))
    assert not torch.equal(one, two)


def test_statistics_of_batch_normalisation_are_those_of_evaluation():
    torch.manual_seed(0)
    net = UNet(3, 1, 2, channels=(4, 8), strides=(2,), norm="BATCH", dropout=0.2).train()
    before = {key: value.clone() for key, value in net.state_dict().items()}
    for passes in (MCDropout(StockNetwork(net), passes=2), DropoutInjection(StockNetwork(net), passes=2)):
        passes(IMAGE).distribution.moments()
        assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
        assert all(part.training for part in net.modules())


def test_a_stream_of_every_head_keeps_the_heads_own_variance():
    network = segmenter("low_rank")
    own = network(IMAGE).distribution.moments().variance
    found = DropoutInjection(network, passes=3, p=1e-6)(IMAGE).distribution.moments().variance
    assert torch.allclose(found, own, atol=1e-4)


@pytest.mark.parametrize("between", [(), (nn.Dropout(0.0),)])
def test_a_network_without_dropout_is_told_of_the_way_out(between):
    with pytest.raises(InputError, match=r"no dropout layers .* use 'dropout_injection'"):
        MCDropout(linear_net(*between))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"p": 1.0}, r"'p' is 1\.0"),
        ({"p": -0.1}, r"'p' is -0\.1"),
        ({"granularity": "voxel"}, r"'granularity' is 'voxel'; choose 'channel' or 'element'"),
        ({"last": 0}, r"'last' is 0"),
        ({"passes": 0}, r"'passes' is 0"),
        ({"passes": 2.5}, r"'passes' is 2\.5"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(InputError, match=message):
        DropoutInjection(linear_net(), **options)


def test_a_network_of_one_layer_has_nothing_to_thin():
    with pytest.raises(InputError, match=r"nothing to thin"):
        DropoutInjection(StockNetwork(nn.Conv3d(1, 2, 1)))(IMAGE).distribution.moments()


@pytest.mark.parametrize("kind", [MCDropout, DropoutInjection])
def test_what_has_no_layers_is_refused(kind):
    with pytest.raises(InputError, match=r"needs the layers of a network; Noise has none"):
        kind(Noise(linear_net()))
