"""What comes before the first random layer runs once, on networks nobody wrote for it."""

from __future__ import annotations

import pytest
import torch
from monai.networks.nets import DynUNet, SegResNet, UNet
from torch import nn

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.imports.stock import StockNetwork
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.passes.dropout import DropoutInjection, MCDropout
from uncertaintyseg.inference.passes.reuse import Prefix, evaluating, hooked
from uncertaintyseg.segmenter import Segmenter

IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(3))


def unet() -> nn.Module:
    """Dropout in its last two layers only; batch normalisation, skip connections as modules."""
    net = UNet(3, 1, 3, channels=(4, 8, 8), strides=(2, 2), num_res_units=1, norm="BATCH", dropout=0.4)
    layers = [part for part in net.modules() if isinstance(part, nn.Dropout)]
    for layer in layers[:-2]:
        layer.p = 0.0
    return net


def dynunet(residual: bool = False) -> nn.Module:
    """Dropout in its last step up only; in-place activations, blocks registered twice, a layer called twice."""
    net = DynUNet(3, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=(4, 8, 8), res_block=residual, dropout=0.3)
    net.upsamples[0].apply(lambda part: setattr(part, "p", 0.0) if isinstance(part, nn.Dropout) else None)
    for block in (net.input_block, net.downsamples, net.bottleneck):
        block.apply(lambda part: setattr(part, "p", 0.0) if isinstance(part, nn.Dropout) else None)
    return net


def residual_dynunet() -> nn.Module:
    """Dropout on the way round a residual block only: the main path, added to in place, is done before it."""
    net = dynunet(residual=True)
    net.apply(lambda part: setattr(part, "p", 0.0) if isinstance(part, nn.Dropout) else None)
    next(part for part in net.downsamples[0].conv3.modules() if isinstance(part, nn.Dropout)).p = 0.5
    return net


def segresnet() -> nn.Module:
    """One dropout layer at the start."""
    return SegResNet(
        3, init_filters=8, in_channels=1, out_channels=3, dropout_prob=0.3, blocks_down=(1, 1), blocks_up=(1,)
    )


NETWORKS = {"unet": unet, "dynunet": dynunet, "residual_dynunet": residual_dynunet, "segresnet": segresnet}


def make(name: str) -> StockNetwork:
    torch.manual_seed(0)
    return StockNetwork(NETWORKS[name](), divisor=4)


def means(passes) -> list[torch.Tensor]:
    return [distribution.mean for distribution in passes.run(IMAGE)]


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_mc_dropout_with_reuse_is_the_naive_loop(name, mode):
    network = make(name)
    with mode():
        ours, naive = (means(MCDropout(network, passes=4, reuse=reuse, seed=5)) for reuse in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(ours, naive, strict=True))
    assert not torch.equal(ours[0], ours[1])


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("last", [None, 1, 3])
def test_injected_dropout_with_reuse_is_the_naive_loop(name, last):
    network = make(name)
    ours, naive = (means(DropoutInjection(network, passes=3, p=0.4, last=last, reuse=reuse)) for reuse in (True, False))
    assert all(torch.equal(a, b) for a, b in zip(ours, naive, strict=True))
    assert not torch.equal(ours[0], ours[1])


@pytest.mark.parametrize("head", ["deterministic", "low_rank", "segwithu"])
def test_reuse_keeps_the_taps_that_hooks_of_our_own_backbones_read(head):
    torch.manual_seed(0)
    network = Segmenter(DynUNetBackbone(filters=(4, 8, 8)), head, classes=3).eval()
    ours, naive = (
        [d.moments().stacked() for d in DropoutInjection(network, passes=3, p=0.3, last=1, reuse=reuse).run(IMAGE)]
        for reuse in (True, False)
    )
    assert all(torch.equal(a, b) for a, b in zip(ours, naive, strict=True))


def counted(layer: nn.Module) -> list[int]:
    """Grows by one whenever the layer computes."""
    runs, original = [], layer.forward
    layer.forward = lambda x: runs.append(1) or original(x)
    return runs


def test_layers_before_the_first_dropout_run_once():
    net = dynunet()
    early, late = counted(net.bottleneck.conv1.conv), counted(net.upsamples[-1].conv_block.conv2.conv)
    list(MCDropout(StockNetwork(net), passes=5).run(IMAGE))
    assert (len(early), len(late)) == (1, 5)


def test_the_layer_before_an_injected_mask_runs_once_too():
    net = dynunet()
    passes = DropoutInjection(StockNetwork(net), passes=5, last=1)
    passes.layers(IMAGE)  # found by one more run, the first time
    early, late = counted(net.upsamples[-1].conv_block.conv2.conv), counted(net.output_block.conv.conv)
    list(passes.run(IMAGE))
    assert (len(early), len(late)) == (1, 5)


def test_the_fewest_modules_are_kept():
    net = nn.Sequential(nn.Sequential(*(nn.Conv3d(1, 1, 1) for _ in range(6))), nn.Conv3d(1, 1, 1), nn.Dropout(0.5))
    prefix = Prefix(net)
    with evaluating(net), torch.no_grad(), prefix.one_pass(), hooked([net[2]], lambda *_: prefix.differs()):
        net(IMAGE)
    assert [module for module, _ in prefix._kept] == [net[0], net[1], net[2]]


@pytest.mark.parametrize("name", ["mc_dropout", "dropout_injection"])
def test_nothing_is_left_behind_after_a_stream_an_error_or_half_a_stream(name):
    network = make("unet")
    network.module.train()
    network.module.model[0].eval()  # flags need not be all alike
    flags = [part.training for part in network.modules()]
    state = {key: value.clone() for key, value in network.state_dict().items()}

    def untouched() -> None:
        assert [part.training for part in network.modules()] == flags
        assert all("forward" not in vars(part) and not part._forward_hooks for part in network.modules())
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())

    passes = PASSES[name](network, passes=3)
    passes(IMAGE).distribution.moments()
    untouched()
    stream = passes.run(IMAGE)
    next(stream)
    untouched()
    with pytest.raises(RuntimeError):
        list(passes.run(torch.randn(1, 7, 8, 8, 8)))
    untouched()


def test_a_forward_of_the_owners_own_is_put_back():
    network = make("unet")
    layer = network.module.model[0]
    runs = counted(layer)
    own = layer.forward
    list(MCDropout(network, passes=2).run(IMAGE))
    assert runs
    assert layer.forward is own
