"""UniverSeg against its equations, written out pair by pair, and against the names of the published weights."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from uncertaintyseg.backbones import UniverSeg


def drawn(features, seed=0):
    torch.manual_seed(seed)
    network = UniverSeg(features).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # biases too
            parameter.add_(0.05 * torch.randn_like(parameter))
    return network


def shown(batch, examples, size=16):
    generator = torch.Generator().manual_seed(1)
    target, images = (torch.rand(batch, *more, 1, size, size, generator=generator) for more in ((), (examples,)))
    return target, images, (torch.rand(images.shape, generator=generator) > 0.5).float()


def conv(state, name, values):
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    return F.conv2d(values, weight, bias, padding=weight.shape[-1] // 2)


def block(state, name, target, support):
    """Equations 3 to 5: every pair is convolved as one image; no shortcut."""
    pairs = [conv(state, f"{name}.cross.cross_conv", torch.cat([target, one], 1)) for one in support]
    mean = torch.stack(pairs).mean(0)
    return (
        F.leaky_relu(conv(state, f"{name}.target.vmapped.conv", mean), 0.01),
        [F.leaky_relu(conv(state, f"{name}.support.vmapped.conv", pair), 0.01) for pair in pairs],
    )


def by_the_paper(network, target, images, labels):
    state, levels = network.state_dict(), len(network.features)
    support = [torch.cat([images[:, s], labels[:, s]], 1) for s in range(images.shape[1])]
    skips = []
    for level in range(levels):
        target, support = block(state, f"enc_blocks.{level}", target, support)
        if level < levels - 1:
            skips.append((target, support))
            target, support = F.max_pool2d(target, 2), [F.max_pool2d(one, 2) for one in support]
    up = torch.nn.UpsamplingBilinear2d(scale_factor=2)
    for level in range(levels - 1):
        own, others = skips.pop()
        support = [torch.cat([up(one), other], 1) for one, other in zip(support, others, strict=True)]
        target, support = block(state, f"dec_blocks.{level}", torch.cat([up(target), own], 1), support)
    return conv(state, "out_conv.conv", target)


@pytest.mark.parametrize("features", [(6, 5), (4, 5, 6, 7)])
@pytest.mark.parametrize("examples", [1, 3])
def test_the_answer_is_that_of_the_equations(features, examples):
    network, inputs = drawn(features), shown(2, examples)
    with torch.no_grad():
        torch.testing.assert_close(network(*inputs), by_the_paper(network, *inputs), atol=1e-5, rtol=1e-4)


def test_a_target_hangs_on_its_own_examples_and_not_on_their_order():
    network, (target, images, labels) = drawn((4, 5, 6)), shown(2, 4)
    with torch.no_grad():
        both, second = network(target, images, labels), network(target[1:], images[1:], labels[1:])
        turned = network(target, images.flip(1), labels.flip(1))
        other = network(target, images, 1 - labels)
    torch.testing.assert_close(both[1:], second)
    torch.testing.assert_close(both, turned, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(both, other, atol=1e-3)


def test_names_and_shapes_are_those_of_the_published_weights():
    state = {name: tuple(value.shape) for name, value in UniverSeg().state_dict().items()}
    inner = {
        f"{part}.{i}.{name}"
        for part, count in (("enc_blocks", 4), ("dec_blocks", 3))
        for i in range(count)
        for name in ("cross.cross_conv", "target.vmapped.conv", "support.vmapped.conv")
    }
    assert set(state) == {f"{name}.{kind}" for name in {*inner, "out_conv.conv"} for kind in ("weight", "bias")}
    assert state["enc_blocks.0.cross.cross_conv.weight"] == (64, 3, 3, 3)
    assert state["enc_blocks.1.cross.cross_conv.weight"] == (64, 128, 3, 3)
    assert state["dec_blocks.0.cross.cross_conv.weight"] == (64, 256, 3, 3)
    assert state["dec_blocks.2.support.vmapped.conv.weight"] == (64, 64, 3, 3)
    assert state["out_conv.conv.weight"] == (1, 64, 1, 1)
    assert sum(parameter.numel() for parameter in UniverSeg().parameters()) == 1_182_785
