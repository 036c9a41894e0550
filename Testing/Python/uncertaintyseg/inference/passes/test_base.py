"""What every registered method without training keeps: a new one joins by being in `PASSES`."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from uncertaintyseg.backbones import Backbone, DynUNetBackbone, InContextBackbone, PromptedBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.heads import HEADS
from uncertaintyseg.inference.passes import PASSES, Passes
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.segmenter import Segmenter

IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(3))
every_method = pytest.mark.parametrize("name", sorted(PASSES))


def segmenter(head: str = "deterministic", seed: int = 0) -> Segmenter:
    torch.manual_seed(seed)
    backbone = DynUNetBackbone(filters=(4, 8, 8))
    backbone.network.bottleneck.lrelu = nn.Sequential(nn.LeakyReLU(), nn.Dropout3d(0.3))
    return Segmenter(backbone, head, classes=3).eval()


def shown(head: str) -> Segmenter:
    """A network that is shown examples."""
    torch.manual_seed(0)
    backbone = InContextBackbone((4, 8), size=8, examples=6, structures=2)
    backbone.images.uniform_()
    backbone.labels.random_(0, 2)
    return Segmenter(backbone, head, classes=3).eval()


class Boxed(PromptedBackbone):
    """Answers with how bright a voxel is, less so outside of the box, so that it needs no `transformers`."""

    def __init__(self) -> None:
        Backbone.__init__(self)
        self.in_channels = self.features = 2

    def forward(self, image):
        inside = (image[:, 1:] > 0).float()
        return image[:, :1] * torch.cat([inside + 0.5, inside - 0.5], 1)


def asking(name: str, image: torch.Tensor) -> torch.Tensor:
    """The image, with a box in each slice for a network that is prompted."""
    if name != "prompt_jitter":
        return image
    marks = torch.zeros_like(image)
    marks[:, :, 2:6, 2:6] = 1
    return torch.cat([image, marks], 1)


FEW = {"fused": {"options": {"dropout_injection": {"passes": 2}, "noise": {"passes": 2}}}, "ensemble": {}, "tta": {},
    "prompt_jitter": {"passes": 4, "jitter": 0.5}}  # fmt: skip


def build(name: str, head: str = "deterministic") -> Passes:
    network = shown(head) if name == "examples" else segmenter(head)
    if name == "prompt_jitter":
        torch.manual_seed(0)
        network = Segmenter(Boxed(), head, classes=3).eval()
    network = [network, segmenter(head, 1)] if name == "ensemble" else network
    return PASSES[name](network, **FEW.get(name, {"passes": 4}))


def test_the_methods_of_this_version_are_registered():
    assert {"mc_dropout", "dropout_injection", "noise", "tta", "ensemble", "fused", "examples", "prompt_jitter"} <= set(
        PASSES
    )


@every_method
def test_a_method_is_registered_under_its_name_and_says_where_it_comes_from(name):
    assert PASSES[name].name == name
    assert PASSES[name].paper
    assert PASSES[name].summary
    assert PASSES[name].source in {"aleatoric", "epistemic", "total"}


def test_no_method_is_called_like_a_head():
    assert not set(PASSES) & set(HEADS)


@every_method
def test_the_answer_is_a_distribution_on_the_grid_of_the_image(name):
    output = build(name)(asking(name, IMAGE))
    moments = output.distribution.moments()
    assert output.distribution.mean.shape == moments.probability.shape == (1, 3, 8, 8, 8)
    assert torch.allclose(moments.probability.sum(1), torch.ones(1, 8, 8, 8), atol=1e-5)
    assert moments.variance.max() > 0
    assert not moments.probability.requires_grad
    assert set(output.maps) == ({"fused_uncertainty"} if name == "fused" else set())
    assert not output.distribution.coherent


@every_method
def test_windows_of_any_volume_repeat_bit_for_bit(name):
    passes, image = build(name), asking(name, torch.randn(1, 1, 8, 12, 7))
    one, two = (MomentsInferer((8, 8, 8), 0.25)(image, passes).moments.stacked() for _ in range(2))
    assert one.shape == (1, 7, 8, 12, 7)
    assert torch.equal(one, two)


@every_method
def test_the_network_is_as_it_was(name):
    passes, image = build(name), asking(name, IMAGE)
    network = getattr(passes, "networks", [passes.network])[0]
    before = network(image).distribution.mean
    passes(image).distribution.moments()
    assert torch.equal(network(image).distribution.mean, before)


@every_method
@pytest.mark.parametrize("head", ["low_rank", "dropout"])
def test_a_head_that_is_unsure_by_itself_makes_passes_no_surer(name, head):
    plain, own = (build(name, kind)(asking(name, IMAGE)).distribution.moments() for kind in ("deterministic", head))
    assert torch.isfinite(own.stacked()).all()
    assert own.variance.mean() > 0.5 * plain.variance.mean()


def test_nothing_runs_before_it_is_asked_for():
    class Refusing:
        divisor = 1

        def __call__(self, image):
            raise AssertionError

    distribution = Noise(Refusing())(IMAGE).distribution
    with pytest.raises(AssertionError):
        distribution.moments()


@pytest.mark.parametrize("count", [0, -3, 1.5])
def test_less_than_one_pass_is_refused(count):
    with pytest.raises(InputError, match=r"'passes' is .*: give a whole number from 1"):
        Noise(segmenter(), passes=count)
