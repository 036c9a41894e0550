"""SegWithU's head: tempering, ranking, its size, and a bundle of it from training to maps."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from scipy.special import softmax
from sklearn.metrics import roc_auc_score
from torch.nn.functional import cross_entropy

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.data.layouts import read_cases
from uncertaintyseg.errors import BundleError
from uncertaintyseg.heads.segwithu import SegWithU
from uncertaintyseg.heads.segwithu.losses import WEIGHTS
from uncertaintyseg.heads.segwithu.probes import cosine_signs
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.measures import margin_risk
from uncertaintyseg.segmenter import Segmenter
from uncertaintyseg.training.fit import fit
from uncertaintyseg.training.objectives import HeadLoss

FEATURES, SHAPE = 6, (8, 4, 6)
TAPS = {"up_0": 7, "up_1": 5}

both = pytest.mark.parametrize("faithful", [False, True])
tapped = pytest.mark.parametrize("taps", [None, TAPS])


def build(classes: int = 3, **options: object) -> SegWithU:
    torch.manual_seed(0)
    return SegWithU(FEATURES, classes, **options).eval()


def inputs(size: float = 1.0, batch: int = 2) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)

    def draw(channels: int, shrink: int) -> torch.Tensor:
        return size * torch.randn(batch, channels, *(side // shrink for side in SHAPE), generator=generator)

    return draw(FEATURES, 1), {"up_0": draw(7, 4), "up_1": draw(5, 2)}


def target(classes: int = 3, batch: int = 2) -> torch.Tensor:
    return torch.randint(classes, (batch, 1, *SHAPE), generator=torch.Generator().manual_seed(2))


def learning(head: SegWithU) -> int:
    return sum(p.numel() for p in head.parameters() if p.requires_grad)


def test_the_faithful_head_has_the_parameters_of_the_paper():
    """METHODS golden test 13."""
    assert learning(SegWithU(32, 4, {"up_1": 256, "up_2": 128}, faithful=True)) == 124_368


def test_the_default_head_is_smaller_by_what_the_sum_of_taps_saves_and_by_the_offset():
    assert learning(SegWithU(32, 4, {"up_1": 256, "up_2": 128})) == 124_368 - 2 * 32 * 32 * 27 - 1


@both
@tapped
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_maps_and_logits_have_the_grid_of_the_features(classes, taps, faithful):
    output = build(classes, taps=taps, faithful=faithful)(*inputs())
    assert output.distribution.mean.shape == (2, classes, *SHAPE)
    assert output.distribution.covariance is None
    assert {name: value.shape for name, value in output.maps.items()} == dict.fromkeys(
        ("ranking", "calibration", "probe_variance"), (2, 1, *SHAPE)
    )


@both
@given(st.floats(0.01, 20), st.integers(2, 4))
def test_tempering_softens_and_never_changes_the_label(faithful, size, classes):
    head = build(classes, taps=TAPS, faithful=faithful)
    features, taps = inputs(size)
    tempered, plain = head(features, taps).distribution.mean, head.mean(features)
    assert torch.equal(tempered.argmax(1), plain.argmax(1))
    assert (tempered.softmax(1).amax(1) <= plain.softmax(1).amax(1) + 1e-6).all()


@both
def test_in_single_tap_mode_every_map_is_what_the_method_says(faithful):
    """METHODS 7.2, items 2 to 11, in numpy."""
    head = build(4, faithful=faithful)
    with torch.no_grad():
        head.probes.scale.add_(1)  # probes that can be seen
    features, _ = inputs(2.0)
    output = head(features)

    def layer(module: torch.nn.Conv3d, x: np.ndarray) -> np.ndarray:
        out = np.einsum("oi,bixyz->boxyz", module.weight.detach().numpy()[..., 0, 0, 0].astype(np.float64), x)
        return out if module.bias is None else out + module.bias.detach().numpy()[:, None, None, None]

    def softplus(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, x)

    x = features.double().numpy()
    eta = layer(head.mean, x)
    sigma = softplus(head.probes.scale.detach().double().numpy()) + 1e-6
    scaled = sigma[:, None, None, None] * layer(head.probes.vector, x)
    signs = cosine_signs().numpy() if faithful else head.probes.signs.numpy()
    moved = [softmax(eta + layer(head.probes.to_classes, z[:, None, None, None] * scaled), 1) for z in signs]
    u_epi = np.var(moved, axis=0).sum(1, keepdims=True)
    energy = (layer(head.probes.to_classes, scaled) ** 2).mean(1, keepdims=True)
    p = softmax(eta, 1)
    top = np.sort(p, axis=1)
    margin = top[:, -1:] - top[:, -2:-1]
    w = np.exp(-4 * margin)
    u_ale = softplus(layer(head.aleatoric, x))
    u_cal = softplus(layer(head.calibration, np.concatenate([np.log1p(u_epi + energy), np.log1p(u_ale), margin], 1)))
    entropy = -(p * np.log(p)).sum(1, keepdims=True)
    anchor = np.log1p(u_epi) + 0.5 * np.log1p(energy) + 0.25 * np.log1p(u_cal) + 0.25 * entropy / np.log(4) + w
    ranking = (1 + 0.1 * np.tanh(1)) * anchor + np.log(2) * w  # e_a = 1, e_b = e_c = 0 at the start

    np.testing.assert_allclose(output.maps["probe_variance"].detach(), u_epi, atol=1e-6)
    np.testing.assert_allclose(output.maps["calibration"].detach(), u_cal, rtol=1e-5)
    np.testing.assert_allclose(output.maps["ranking"].detach(), ranking, rtol=1e-5)
    tempered = eta / np.maximum(1, np.sqrt(1 + u_cal))
    np.testing.assert_allclose(output.distribution.mean.detach(), tempered, rtol=1e-4, atol=1e-5)


def test_a_new_head_ranks_nearly_as_the_margin_does():
    head, (features, taps) = build(3, taps=TAPS), inputs()
    output = head(features, taps)
    p = head.mean(features).softmax(1).sort(1).values
    found = torch.stack([output.maps["ranking"].flatten(), (p[:, -2] - p[:, -1]).flatten()])
    assert torch.corrcoef(found)[0, 1] > 0.95


@both
def test_maps_stop_at_the_ends_of_their_ranges(faithful):
    head = build(3, faithful=faithful)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.mul_(50)
    output = head(inputs(50.0)[0])
    for name, info in head.extra_maps().items():
        low, high = info.range
        assert low <= output.maps[name].min() <= output.maps[name].max() <= high
    assert output.maps["calibration"].max() == 24


@both
@tapped
@pytest.mark.parametrize("classes", [2, 3])
def test_everything_that_learns_gets_gradient_and_the_network_gets_none(classes, taps, faithful):
    head = build(classes, taps=taps, faithful=faithful).train()
    features, streams = inputs()
    for tensor in (features, *streams.values()):
        tensor.requires_grad_()
    output = head(features, streams)
    HeadLoss("marginal_nll", generator=torch.Generator().manual_seed(0))(output, target(classes)).backward()
    for name, parameter in head.named_parameters():
        if name.startswith("mean."):
            assert parameter.grad is None
        elif name == "offset":  # moves all voxels alike, which no term minds
            assert parameter.grad.abs() < 1e-6
        else:
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().max() > 0, name
    assert all(tensor.grad is None for tensor in (features, *streams.values()))


def test_its_loss_is_there_in_training_only_and_repeats_from_a_seed():
    head, (features, taps) = build(taps=TAPS), inputs()
    assert head(features, taps).terms is None
    output = head.train()(features, taps)
    one, two = (output.terms(target(), torch.Generator().manual_seed(3)) for _ in range(2))
    assert list(one) == list(WEIGHTS)
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_terms_carry_the_published_weights_or_those_that_are_asked_for():
    features, _ = inputs()
    plain = build(weights=dict.fromkeys(WEIGHTS, 1.0)).train()(features).terms(target(), None)
    published = build().train()(features).terms(target(), None)
    changed = build(weights={"nll": 2.0, "tail": 0}).train()(features).terms(target(), None)
    for name in ("nll", "error", "tail", "trust", "anchor", "residual"):  # pairs are drawn anew
        torch.testing.assert_close(published[name], WEIGHTS[name] * plain[name])
    torch.testing.assert_close(changed["nll"], 2 * plain["nll"])
    assert changed["tail"] == 0
    torch.testing.assert_close(changed["error"], published["error"])


def test_it_learns_where_errors_are_that_the_margin_does_not_show():
    head, (features, streams) = build(taps=TAPS, width=8).train(), inputs()
    head.mean.weight.mul_(5)  # too sure of itself: tempering can only soften
    plain = head.mean(features)
    wrong = features[:, :1] > 0.8  # a fifth of the voxels
    labels = (plain.argmax(1, keepdim=True) + wrong) % 3
    start = cross_entropy(head(features, streams).distribution.mean, labels[:, 0]).item()
    optimizer = torch.optim.AdamW([p for p in head.parameters() if p.requires_grad], lr=1e-2)
    for _ in range(40):
        output = head(features, streams)
        optimizer.zero_grad()
        torch.stack(list(output.terms(labels, torch.Generator().manual_seed(0)).values())).sum().backward()
        optimizer.step()
    output = head.eval()(features, streams)
    truth = wrong.flatten().numpy()
    margin = roc_auc_score(truth, margin_risk(plain.softmax(1)).detach().flatten())
    assert roc_auc_score(truth, output.maps["ranking"].detach().flatten()) > margin + 0.05
    assert cross_entropy(output.distribution.mean, labels[:, 0]).item() < start


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, "'rank' is 1 or more.*it is 0"),
        ({"rank": 4, "faithful": True}, "8 where 'faithful'; it is 4"),
        ({"weights": {"dice": 1.0}}, "no loss term 'dice'.*nll, error"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(BundleError, match=message):
        build(**options)


def test_a_head_with_taps_wants_them():
    with pytest.raises(BundleError, match="reads the tap 'up_0' and was given none"):
        build(taps=TAPS)(inputs()[0])


def test_a_backbone_without_the_tap_is_answered_with_those_it_has():
    with pytest.raises(BundleError, match=r"the tap 'up_7', the backbone has up_0, up_1"):
        Segmenter(DynUNetBackbone(filters=(4, 8, 8)), "segwithu", 2, taps={"up_7": 16})


@pytest.mark.parametrize("taps", [{}, {"up_0": 16}, {"up_0": 16, "up_1": 8}])
def test_any_taps_of_a_backbone_will_do(taps):
    network = Segmenter(DynUNetBackbone(filters=(4, 8, 8)), "segwithu", 2, taps=taps, width=4).eval()
    assert network(torch.randn(1, 1, 8, 12, 8)).maps["ranking"].shape == (1, 1, 8, 12, 8)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory, phantoms) -> tuple[Bundle, Bundle]:
    """The plain bundle, with random weights, and SegWithU fitted on it for two epochs."""
    folder = tmp_path_factory.mktemp("segwithu")
    plain = tiny.give_random_weights(tiny.write_bundle(folder / "models"))
    source = tiny.write_bundle(
        folder / "models", "segwithu", recipe={"backbone": "frozen"}, taps={"up_0": 16, "up_1": 8}, width=4
    )
    cases = read_cases(phantoms)
    report = fit(Bundle.load(source), cases[:2], cases[2:3], folder / "runs", models=[folder / "models"])
    return plain, report.bundle


def test_a_fit_teaches_the_head_and_leaves_the_network_as_it_was(fitted):
    plain, bundle = (load_file(Path(one.weights)) for one in fitted)
    assert all(torch.equal(bundle[name], value) for name, value in plain.items())
    fresh = fitted[1].network(weights=False).state_dict()
    start = {name: fresh[name].half() for name in ("head.stretch", "head.sharpness", "head.probes.scale")}
    assert all(not torch.equal(bundle[name], value) for name, value in start.items())


def test_windows_average_its_maps_and_keep_them_in_their_ranges(fitted):
    network = fitted[1].network()
    image = torch.randn(1, 1, 20, 12, 16)
    out = MomentsInferer((8, 8, 8), 0.5)(image, network)
    again = MomentsInferer((8, 8, 8), 0.5)(image, network)
    assert out.maps.keys() == network.head.extra_maps().keys()
    for name, info in network.head.extra_maps().items():
        assert out.maps[name].shape == image.shape
        assert torch.equal(out.maps[name], again.maps[name])
        assert info.range[0] <= out.maps[name].min() <= out.maps[name].max() <= info.range[1]


def test_in_one_window_the_label_is_the_plain_networks(fitted):
    plain, bundle = (one.network() for one in fitted)
    image = torch.randn(1, 1, 8, 12, 8)
    labels = [MomentsInferer((8, 12, 8))(image, net).moments.probability.argmax(1) for net in (plain, bundle)]
    assert torch.equal(*labels)


def test_a_volume_smaller_than_the_window_still_has_maps(fitted):
    out = MomentsInferer((24, 24, 12))(torch.randn(1, 1, 3, 2, 1), fitted[1].network())
    assert torch.isfinite(out.maps["ranking"]).all()
