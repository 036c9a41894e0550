"""Several networks as one."""

from __future__ import annotations

import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.passes.checkpoints import Checkpoints
from uncertaintyseg.inference.passes.dropout import DropoutInjection
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.segmenter import Segmenter

IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(3))


def network(seed: int = 0, head: str = "deterministic", classes: int = 3, levels: int = 3) -> Segmenter:
    torch.manual_seed(seed)
    return Segmenter(DynUNetBackbone(filters=(4, 8, 8, 8)[:levels]), head, classes).eval()


def test_an_ensemble_is_the_mixture_of_its_networks():
    networks = [network(seed) for seed in range(3)]
    found = Checkpoints(networks)(IMAGE).distribution.moments()
    p = torch.stack([net(IMAGE).distribution.mean.softmax(1) for net in networks])
    assert torch.allclose(found.probability, p.mean(0), atol=1e-6)
    assert torch.allclose(found.variance, p.var(0, correction=0), atol=1e-6)


def test_networks_of_different_heads_and_passes_mix():
    parts = [network(0, "low_rank"), network(1), DropoutInjection(network(2), passes=2)]
    found = Checkpoints(parts)(IMAGE).distribution.moments().stacked()
    each = [part(IMAGE).distribution.moments().stacked() for part in parts]
    assert torch.allclose(found, torch.stack(each).mean(0), atol=1e-6)


def test_windows_fit_every_network():
    ensemble = Checkpoints([network(levels=3), network(levels=4)])
    assert ensemble.divisor == 8
    image = torch.randn(1, 1, 12, 12, 12)
    assert MomentsInferer((16, 16, 16))(image, ensemble).moments.probability.shape == (1, 3, 12, 12, 12)


def test_divisors_may_differ_between_axes():
    one, two = network(), network()
    one.backbone.divisor = (4, 6, 1)
    two.backbone.divisor = 4
    assert list(Checkpoints([one, two]).divisor) == [4, 12, 4]


def test_networks_with_other_classes_are_refused():
    ensemble = Checkpoints([network(classes=3), network(classes=2)])
    with pytest.raises(InputError, match=r"model 2 of the ensemble tells 2 classes apart, the first 3"):
        ensemble(IMAGE).distribution.moments()


def test_one_network_is_no_ensemble():
    with pytest.raises(InputError, match=r"ensemble of 1 networks: name at least two"):
        Checkpoints([network()])


def test_the_number_of_passes_is_that_of_the_models():
    assert Checkpoints([network(), network()]).passes == 2
    assert Checkpoints.count(models=["b", "c", "d"]) == 4
