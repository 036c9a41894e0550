"""Methods fused by how sure each of them is, every one after its own passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.fusion import WEIGHTINGS, fuse, weighting
from uncertaintyseg.inference.passes import PASSES
from uncertaintyseg.inference.passes.dropout import DropoutInjection
from uncertaintyseg.inference.passes.fused import COMPONENTS, Fused
from uncertaintyseg.inference.passes.noise import Noise
from uncertaintyseg.inference.passes.tta import Augmented
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.segmenter import Segmenter

FEW = {"dropout_injection": {"passes": 3, "p": 0.2}, "tta": {"symmetries": (0,)}, "noise": {"passes": 2}}
IMAGE = torch.randn(1, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))


def tiny_network(classes=3):
    torch.manual_seed(0)
    network = Segmenter(DynUNetBackbone(filters=(4, 8, 8)), "deterministic", classes).eval()
    with torch.no_grad():
        network.head.mean.weight.mul_(4)
    return network


@pytest.mark.parametrize("name", WEIGHTINGS)
@pytest.mark.parametrize("faithful", [False, True])
def test_it_is_the_fusion_of_what_each_method_says_alone(name, faithful):
    network = tiny_network()
    fused = Fused(network, weighting=name, faithful=faithful, options=FEW, seed=5)
    methods = [
        DropoutInjection(network, seed=5, **FEW["dropout_injection"]),
        Augmented(network, **FEW["tta"]),
        Noise(network, seed=5, **FEW["noise"]),
    ]
    with torch.inference_mode():
        wanted = fuse((method(IMAGE).distribution.moments() for method in methods), weighting(name, faithful=faithful))
        output = fused(IMAGE)
        found = output.distribution.moments()
    assert torch.allclose(found.stacked(), wanted.moments.stacked(), atol=1e-6)
    assert list(output.maps) == list(Fused.extra_maps(3)) == ["fused_uncertainty"]
    assert torch.allclose(output.maps["fused_uncertainty"], wanted.uncertainty, atol=1e-6)
    assert found.variance.max() > 1e-5


def test_fused_uncertainty_is_the_weighted_sum_of_the_methods_own_entropies():
    network = tiny_network()
    methods = [Augmented(network, **FEW["tta"]), Noise(network, seed=5, **FEW["noise"])]
    with torch.inference_mode():
        p = np.stack([method(IMAGE).distribution.moments().probability.double().numpy() for method in methods])
        fused = Fused(network, components=("tta", "noise"), options={n: FEW[n] for n in ("tta", "noise")}, seed=5)
        found = fused(IMAGE).maps["fused_uncertainty"][:, 0].numpy()
    u = -(p * np.log(p)).sum(2)  # nats, of each method
    weights = 1 / (u / np.log(3) + 1e-3)
    weights /= weights.sum(0)
    assert np.allclose(found, (weights * u).sum(0), atol=1e-5)
    together = (weights[:, :, None] * p).sum(0)
    assert (found <= -(together * np.log(together)).sum(1) + 1e-5).all()
    assert found.std() > 1e-3


def test_it_counts_the_passes_of_its_components():
    options = {"components": ("dropout_injection", "tta", "noise"), "options": FEW}
    assert Fused.count(**options) == Fused(tiny_network(), **options).passes == 3 + 2 + 2
    assert Fused.count(components=("tta", "noise")) == 8 + 30


def test_components_learn_of_the_spacing_and_the_seed():
    own = {"tta": {"symmetries": "cube"}, "noise": {"passes": 2, "seed": 9}}
    fused = Fused(tiny_network(), components=("tta", "noise"), options=own, spacing=(1, 1, 3), seed=4)
    assert fused.methods["tta"].passes == 16
    assert fused.methods["noise"].seed == 9
    assert Fused(tiny_network(), components=("tta", "noise"), seed=4).methods["noise"].seed == 4
    with pytest.raises(InputError, match="no axes can be exchanged"):
        Fused(tiny_network(), components=("tta", "noise"), options=own, spacing=(1, 2, 3))


def test_it_runs_in_windows_and_repeats_bit_for_bit():
    fused, image = Fused(tiny_network(), options=FEW), torch.randn(1, 1, 11, 8, 9)
    one, two = (MomentsInferer((8, 8, 8), overlap=0.25)(image, fused).moments for _ in range(2))
    assert torch.equal(one.stacked(), two.stacked())
    assert torch.allclose(one.probability.sum(1), torch.ones(1, 11, 8, 9), atol=1e-5)


def test_a_plain_mean_still_has_samples():
    with torch.inference_mode():
        plain = Fused(tiny_network(), weighting="mean", options=FEW)(IMAGE).distribution
        assert next(plain.sample(1)).shape == (1, 3, 8, 8, 8)


def test_it_is_registered():
    assert PASSES["fused"] is Fused
    assert set(COMPONENTS) < set(PASSES)
    assert Fused(tiny_network(), options=FEW).divisor == 4
    assert Fused(tiny_network()).passes == 30 + 8 + 30


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": ("tta", "magic")}, "'magic' cannot be fused; choose from mc_dropout"),
        ({"components": ("tta",)}, "at least two different"),
        ({"components": ("tta", "tta")}, "at least two different"),
        ({"options": {"mc_dropout": {}}}, "options for 'mc_dropout'"),
        ({"options": {"noise": {"sigmas": 1}}}, "'noise' has no option 'sigmas'; it has passes, sigma"),
        ({"options": {"noise": {"passes": 0}}}, "'passes' is 0"),
        ({"weighting": "loudest"}, "'loudest' does not exist"),
        ({"components": ("mc_dropout", "tta")}, "use 'dropout_injection'"),
    ],
)
def test_components_and_options_without_sense_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Fused(tiny_network(), **options)
