"""The Attention U-Net in three dimensions, and in two on the slices of a volume."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.backbones import AttentionUNetBackbone
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import BundleError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.fit import fit


def backbone(spatial_dims: int = 3, filters=(4, 6, 8)) -> AttentionUNetBackbone:
    torch.manual_seed(0)
    return AttentionUNetBackbone(filters=filters, spatial_dims=spatial_dims).eval()


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("channels", [1, 2])
def test_features_have_the_grid_of_the_image(spatial_dims, channels):
    network = AttentionUNetBackbone(channels, (4, 6, 8), spatial_dims).eval()
    assert network(torch.randn(2, channels, 8, 12, 16)).shape == (2, network.features, 8, 12, 16)
    assert (network.in_channels, network.features) == (channels, 4)


def test_the_divisor_is_what_the_levels_halve():
    assert backbone().divisor == 4
    assert backbone(2).divisor == (4, 4, 1)
    with pytest.raises(RuntimeError):
        backbone()(torch.randn(1, 1, 8, 8, 10))


def test_in_two_dimensions_a_slice_knows_nothing_of_the_others():
    network, image = backbone(2), torch.randn(2, 1, 8, 12, 5)
    whole = network(image)
    assert whole.shape == (2, 4, 8, 12, 5)
    for batch in range(2):
        for depth in range(5):
            alone = network(image[batch : batch + 1, ..., depth : depth + 1])
            torch.testing.assert_close(whole[batch, ..., depth], alone[0, ..., 0])


def test_in_three_dimensions_it_does():
    network, image = backbone(), torch.randn(1, 1, 8, 8, 8)
    changed = image.clone()
    changed[..., 7] += 1
    assert not torch.equal(network(image)[..., 0], network(changed)[..., 0])


def test_gates_let_a_share_of_each_skip_through():
    network, shares = backbone(), []
    for name, module in network.named_modules():
        if name.endswith("attention.psi"):
            module.register_forward_hook(lambda module, inputs, output: shares.append(output))
    network(torch.randn(1, 1, 8, 8, 8))
    assert [share.shape[1:] for share in shares] == [(1, 4, 4, 4), (1, 8, 8, 8)]
    assert all(share.min() > 0 and share.max() < 1 for share in shares)


def test_it_has_the_parameters_that_were_counted():
    """31.7 million as the thesis describes its network, which names 15.1 million (METHODS A49)."""
    with torch.device("meta"):
        network = AttentionUNetBackbone(filters=(64, 128, 256, 512, 1024), spatial_dims=2)
    assert sum(parameter.numel() for parameter in network.parameters()) / 1e6 == pytest.approx(31.7, abs=0.1)


@pytest.mark.parametrize("filters", [(), (8,)])
def test_too_few_levels_are_refused(filters):
    with pytest.raises(BundleError, match="at least 2 levels"):
        AttentionUNetBackbone(filters=filters)


def test_another_number_of_dimensions_is_refused():
    with pytest.raises(BundleError, match="'spatial_dims' is 3 for volumes or 2 for their slices, not 4"):
        AttentionUNetBackbone(spatial_dims=4)


@pytest.mark.parametrize("shape", [(7, 9, 1), (3, 4, 5), (20, 17, 3)])
def test_volumes_of_any_size_are_segmented_slice_by_slice(shape):
    torch.manual_seed(0)
    network = Segmenter(backbone(2), "deterministic", 3).eval()
    probability = MomentsInferer((12, 12, 2), 0.25)(torch.randn(1, 1, *shape), network).moments.probability
    assert probability.shape == (1, 3, *shape)
    torch.testing.assert_close(probability.sum(1), torch.ones(1, *shape))


def test_frozen_it_keeps_its_statistics():
    network = backbone()
    assert network.train().training
    network.requires_grad_(False)
    assert not network.train().training
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network(torch.randn(2, 1, 8, 8, 8))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_it_is_trained_and_predicts(windows, tmp_path, spatial_dims):
    """The whole recipe of the thesis, in little: hybrid loss, plateau, clipping, rare structures drawn more often."""
    source = tiny.write_bundle(
        tmp_path / "models",
        backbone={
            "_target_": "uncertaintyseg.backbones.AttentionUNetBackbone",
            "filters": [4, 8, 8],
            "spatial_dims": spatial_dims,
        },
        recipe={
            "crop": [24, 24, 1 if spatial_dims == 2 else 12],
            "objective": "hybrid",
            "schedule": "plateau",
            "optimizer": "adam",
            "clip": 1.0,
            "rare_labels": [2],
            "slices": spatial_dims == 2,
            "batch_size": 2 if spatial_dims == 3 else 8,
            "epochs": 3,
        },
    )
    cases = read_cases(windows)
    report = fit(Bundle.load(source), cases[:3], cases[3:5], tmp_path / "runs")
    prediction = Predictor(report.bundle).predict(cases[0].image)
    assert prediction.label.any()
    assert all(np.isfinite(values).all() for values in prediction.maps.values())
    assert report.validation["dice"] > 0.2


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_taps_are_what_enters_the_steps_up(spatial_dims):
    network, image = backbone(spatial_dims), torch.randn(2, 1, 8, 12, 4)
    assert list(network.taps.items()) == [("up_0", 12), ("up_1", 8)]
    features, taps = network.tapped(image, ("up_0", "up_1"))
    torch.testing.assert_close(features, network(image))
    coarse = (4, 6, 4) if spatial_dims == 2 else (4, 6, 2)
    assert taps["up_0"].shape == (2, 12, *coarse)
    assert taps["up_1"].shape == (2, 8, 8, 12, 4)
    if spatial_dims == 3:  # the last step up makes the features of its tap
        torch.testing.assert_close(network.tap_module("up_1")(taps["up_1"]), features)


def test_segwithu_goes_on_an_attention_unet():
    torch.manual_seed(0)
    taps = {"up_0": 12}
    network = Segmenter(backbone(), "segwithu", 3, taps=taps).eval()
    output = network(torch.randn(1, 1, 8, 8, 8))
    assert output.maps["ranking"].shape == (1, 1, 8, 8, 8)


@pytest.mark.parametrize("rate", [1.0, -0.1, "much"])
def test_a_dropout_that_is_no_chance_is_refused(rate):
    with pytest.raises(BundleError, match="dropout"):
        AttentionUNetBackbone(filters=(4, 6, 8), dropout=rate)
