"""Heads that are fitted after training, through the same door as the trained ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from Testing.Python.uncertaintyseg import tiny
from uncertaintyseg.data.case_labels import IGNORED
from uncertaintyseg.data.layouts import Case, read_cases
from uncertaintyseg.errors import BundleError, InputError
from uncertaintyseg.inference.bundle import Bundle
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.stream import WindowLayout
from uncertaintyseg.inference.window import MomentsInferer
from uncertaintyseg.training.fit import UNFINISHED, fit
from uncertaintyseg.training.posterior import WindowedFeatures


@pytest.fixture(scope="module")
def cases(windows) -> list[Case]:
    return read_cases(windows)


@pytest.fixture(scope="module")
def scan(windows) -> Path:
    return windows / "images" / "case_0.nii.gz"


@pytest.fixture(scope="module")
def trained(tmp_path_factory, cases) -> Path:
    """A folder with a trained plain network and a trained low-rank head."""
    folder = tmp_path_factory.mktemp("trained")
    plain = tiny.write_bundle(folder / "models", recipe={"epochs": 3, "learning_rate": 0.02})
    low_rank = tiny.write_bundle(folder / "models", "low_rank", recipe={"epochs": 1}, rank=2)
    for path in (plain, low_rank):
        fit(Bundle.load(path), cases[:2], cases[3:4], folder / "runs")
    return folder / "runs"


def fitted(trained: Path, cases: list[Case], folder: Path, head: str, **options: object):
    source = tiny.write_bundle(folder / "models", head, **options)
    return fit(Bundle.load(source), cases[:2], cases[3:4], folder / "runs", models=[trained])


@pytest.mark.parametrize(
    ("head", "options"),
    [
        ("temperature", {}),
        ("laplace", {}),
        ("laplace", {"structure": "kronecker"}),
        ("laplace", {"structure": "diagonal", "choose": "marginal_likelihood"}),
        ("laplace", {"depth": 3, "draws": 2, "prior_precision": 1.0, "tempering": 1e-3}),
    ],
)
def test_a_fitted_head_is_written_on_the_network_it_starts_from(trained, cases, scan, tmp_path, head, options):
    report = fitted(trained, cases, tmp_path, head, **options)
    assert (report.best_epoch, report.epochs) == (0, 0)
    assert {"dice", "nll", "validation_nll", "plain_validation_nll"} <= report.validation.keys()
    assert np.isfinite(list(report.validation.values())).all()
    start, state = load_file(trained / "tiny_deterministic/models/model.safetensors"), load_file(report.bundle.weights)
    mean = "head.mean." if head == "temperature" else "head.base.mean."
    for name, value in start.items():
        assert torch.equal(state[name.replace("head.mean.", mean)], value), name
    assert Predictor(report.bundle).predict(scan).label.any()
    assert not (report.bundle.folder / UNFINISHED).exists()


def test_a_deeper_posterior_is_in_the_file_and_widens_the_maps(trained, cases, scan, tmp_path):
    deep = fitted(trained, cases, tmp_path / "deep", "laplace", depth=2, draws=4, prior_precision=1.0, tempering=1e-3)
    plain = fitted(trained, cases, tmp_path / "plain", "laplace", prior_precision=1.0, tempering=1e-3)
    assert deep.validation["output_layer_nll"] == plain.validation["validation_nll"]
    state = load_file(deep.bundle.weights)
    assert state["head.deeper.variance"].shape == (4 * 4 * 27,)
    assert state["head.deeper.variance"].min() > 0
    network = deep.bundle.network()
    assert torch.equal(network.head.deeper.variance, state["head.deeper.variance"])
    assert network.features == 4 + 4 * 3
    one, other = (Predictor(report.bundle).predict(scan) for report in (deep, plain))
    assert one.state.features.shape[0] == 16
    assert (one.label == other.label).mean() > 0.9
    assert one.maps["variance"].mean() > 1.01 * other.maps["variance"].mean()


def test_a_stochastic_base_keeps_its_trained_noise(trained, cases, scan, tmp_path):
    options = {"base": "low_rank", "base_options": {"rank": 2}, "recipe": {"initial": "tiny_low_rank"}}
    report = fitted(trained, cases, tmp_path, "laplace", **options)
    start, state = load_file(trained / "tiny_low_rank/models/model.safetensors"), load_file(report.bundle.weights)
    for name, value in start.items():
        assert torch.equal(state[name.replace("head.", "head.base.")], value), name
    assert Predictor(report.bundle).predict(scan).label.shape


def test_what_is_fitted_keeps_its_precision_in_the_file(trained, cases, tmp_path):
    bundle = fitted(trained, cases, tmp_path, "laplace").bundle
    state = load_file(bundle.weights)
    assert state["head.posterior.factor"].dtype == torch.float32
    assert state["head.base.mean.weight"].dtype == torch.float16
    network = bundle.network()
    assert torch.equal(network.head.posterior.factor, state["head.posterior.factor"])


def test_the_same_cases_give_the_same_posterior(trained, cases, tmp_path):
    one, other = (fitted(trained, cases, tmp_path / name, "laplace").bundle for name in "ab")
    assert one.checksum == other.checksum


def test_a_fitted_head_needs_a_trained_network(trained, cases, tmp_path):
    with pytest.raises(
        BundleError, match=r"the head 'laplace' needs a trained network: 'recipe\.stage' must be 'head'"
    ):
        fitted(trained, cases, tmp_path, "laplace", recipe={"stage": "backbone"})


def test_a_base_of_another_kind_than_the_initial_model_is_refused(trained, cases, tmp_path):
    with pytest.raises(BundleError, match="weights of another architecture"):
        fitted(trained, cases, tmp_path, "laplace", base="low_rank", base_options={"rank": 2})


def test_a_refused_fit_leaves_earlier_weights_alone(trained, cases, tmp_path):
    report = fitted(trained, cases, tmp_path, "laplace")
    source = tiny.write_bundle(tmp_path / "models", "laplace", prior_precision=0.0, tempering=1e-6, structure="full")
    broken = Bundle.load(trained / "tiny_deterministic").network()
    assert np.isfinite(broken.head.mean.weight.detach().numpy()).all()
    with pytest.raises(InputError, match="has no labelled case"):
        fit(Bundle.load(source), cases[:1], [Case("bare", cases[0].image, None)], tmp_path / "runs", models=[trained])
    assert Bundle.load(report.bundle.folder).checksum == report.bundle.checksum


@pytest.mark.parametrize("kind", ["monai", "nnunet"])
@pytest.mark.parametrize("shape", [(30, 13, 12), (5, 24, 9), (7, 3, 2), (24, 24, 12)])
def test_every_voxel_is_read_once_with_its_own_label(tiny_bundle, shape, kind):
    """The one feature of this backbone is the intensity, so that features say where they come from."""
    backbone = {"_target_": "Testing.Python.uncertaintyseg.tiny.IntensityBackbone"}
    network = tiny_bundle("deterministic", 2, backbone=backbone).network()
    image = torch.arange(float(np.prod(shape))).reshape(1, 1, *shape)
    read = []
    layout = WindowLayout((12, 8, 8), 0.5, kind)
    stream = WindowedFeatures(network, [(image, image.long())], layout, lambda: read.append(1))
    for _ in range(2):
        features, labels = zip(*((f.flatten(), t.flatten()) for f, t in stream), strict=True)
        assert torch.equal(torch.cat(features).long(), torch.cat(labels))
        assert torch.equal(torch.cat(labels).sort().values, torch.arange(image.numel()))
    assert len(read) == 2


def test_a_head_that_learnt_from_windows_is_completed_on_whole_ones_and_each_voxel_counts_once(tiny_bundle):
    backbone = {"_target_": "Testing.Python.uncertaintyseg.tiny.IntensityBackbone"}
    network = tiny_bundle("l_fusion", 2, backbone=backbone).network()
    image = torch.arange(30.0 * 13 * 12).reshape(1, 1, 30, 13, 12)
    stream = WindowedFeatures(network, [(image, image.long())], WindowLayout((12, 8, 8), 0.5, "monai"), lambda: None)
    counted = []
    for features, target in stream:
        assert features.shape[2:] == target.shape[1:] == (12, 8, 8)
        known = target[0] != IGNORED
        assert torch.equal(features[0, 0][known].long(), target[0][known])
        counted.append(target[0][known])
    assert torch.equal(torch.cat(counted).sort().values, torch.arange(image.numel()))


def test_a_volume_of_one_window_has_the_features_of_inference(tiny_bundle):
    network = tiny_bundle("deterministic").network()
    image = torch.randn(1, 1, 17, 11, 8)
    inferer = MomentsInferer((24, 24, 12), keep_features=True)
    stream = WindowedFeatures(network, [(image, torch.zeros(image.shape).long())], inferer.layout, lambda: None)
    (features, _), *more = stream
    assert not more
    assert torch.allclose(features, inferer(image, network).features, atol=1e-5)
