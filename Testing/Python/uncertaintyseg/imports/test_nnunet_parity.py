"""An imported nnU-Net against nnU-Net itself: the same grid, the same network, the same answers (NETWORKS 1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg.imports.nnunet_matrix import MATRIX
from uncertaintyseg.data.layouts import find_real_data
from uncertaintyseg.imports import import_model
from uncertaintyseg.inference.predictor import Predictor

every = pytest.mark.parametrize("name", MATRIX)


@pytest.fixture(scope="session")
def oracle():
    pytest.importorskip("nnunetv2")
    from Testing.Python.uncertaintyseg.imports import nnunet_oracle

    return nnunet_oracle


@every
def test_a_scan_comes_to_the_network_as_nnunet_brings_it(imported, oracle, name):
    made = imported(name)
    found = made.bundle.preprocessing()({"image": made.images[0], "label": made.label})
    image, label = oracle.preprocessed(made.training, made.images, made.label)
    assert found["image"].shape == image.shape
    assert np.abs(found["image"].numpy() - image).max() <= 1e-6 * max(1, np.abs(image).max())
    assert np.array_equal(found["label"][0].numpy(), np.maximum(label, 0))
    assert set(np.unique(label)) - {-1} == {*range(len(made.bundle.labels) + 1)}


@every
def test_the_network_says_what_nnunets_says(imported, oracle, name):
    made = imported(name)
    image, _ = oracle.preprocessed(made.training, made.images)
    patch = np.zeros((len(image), *made.bundle.setting("window")), np.float32)
    part = tuple(slice(0, min(size, wanted)) for size, wanted in zip(image.shape[1:], patch.shape[1:], strict=True))
    patch[(slice(None), *part)] = image[(slice(None), *part)]
    network = made.bundle.network()
    network = network if not hasattr(network, "networks") else network.networks[0]
    with torch.inference_mode():
        found = network(torch.from_numpy(patch)[None]).distribution.mean[0].numpy()
    expected = oracle.logits(made.training, patch)
    if made.bundle.config.get("regions"):
        assert not found[0].any()
        found = found[1:]
    assert np.abs(expected).max() > 1
    # a layer of another width may sum in another order
    assert np.abs(found - expected).max() <= 1e-6 * np.abs(expected).max()


def answers(bundle, images, **options):
    """Label and class probabilities `[C, X, Y, Z]` of our model, the background first."""
    prediction = Predictor(bundle, **options).predict(images[0])
    structures = np.stack([np.asarray(prediction.maps[f"probability_{item.name}"]) for item in bundle.labels])
    return prediction, np.concatenate([1 - structures.sum(0, keepdims=True), structures])


def exclusive(sigmoids, order):
    """What nnU-Net's probabilities of nested regions leave for each class."""
    nested = np.minimum.accumulate(sigmoids, 0)
    inner = np.concatenate([nested[1:], np.zeros_like(nested[:1])])
    classes = np.zeros((len(order) + 1, *sigmoids.shape[1:]), sigmoids.dtype)
    classes[order] = nested - inner
    classes[0] = 1 - nested[0]
    return classes


def assert_same(label, probability, expected_label, expected) -> None:
    """In float32: probabilities within 1e-5, labels equal but where two classes are as good as equal."""
    assert np.abs(probability - expected).max() <= 1e-5
    two = np.sort(expected, axis=0)[-2:]
    undecided = np.log(two[1] / two[0].clip(1e-30)) < 1e-4  # the difference of the two largest logits
    assert np.array_equal(label[~undecided], expected_label[~undecided])


@every
def test_label_and_probabilities_are_nnunets(imported, oracle, name):
    made = imported(name)
    mirroring = name in {"native", "rotated"}
    bundle = made.bundle
    bundle.config["mirrors"] = bundle.config["mirrors"] if mirroring else []
    prediction, probability = answers(bundle, made.images)
    label, expected = oracle.prediction(made.training, made.images, mirroring=mirroring)
    assert len(np.unique(label)) == len(bundle.labels) + 1
    if order := bundle.config.get("regions"):
        assert np.array_equal(prediction.label, label)
        expected = exclusive(expected, order)
        assert np.abs(probability - expected).max() <= 1e-5
    else:
        assert_same(prediction.label, probability, label, expected)
    error = 1 - np.take_along_axis(probability, prediction.label[None].astype(int), 0)[0]
    assert np.abs(prediction.maps["error_probability"] - error).max() <= 1e-5
    spread = prediction.maps["mutual_information"].max()
    assert spread > 0.01 if mirroring or name == "two folds" else spread == 0


REAL = find_real_data("nnunet_hippocampus")


@pytest.mark.skipif(REAL is None, reason="no real data beside the checkout")
@pytest.mark.parametrize(
    ("case", "mirroring"),
    [("hippocampus_004", False), ("anisotropic", False), ("anisotropic", True)],
    ids=["plain", "anisotropic", "mirrored"],
)
def test_a_real_network_answers_as_nnunet_did(tmp_path, case, mirroring):
    bundle = import_model(REAL, output=tmp_path, mirroring=mirroring)
    image = REAL / "golden" / f"{case}.nii.gz"
    prediction, probability = answers(bundle, [image if image.is_file() else scans_of_msd() / f"{case}.nii.gz"])
    golden = np.load(REAL / "golden" / f"{case}.npz", allow_pickle=False)
    kind = "_mirrored" if mirroring else ""
    expected = golden[f"probability_float32{kind}"]
    expected = np.concatenate([1 - expected.sum(0, keepdims=True), expected])
    assert_same(prediction.label, probability, golden[f"label_float32{kind}"], expected)
    label, stock = golden[f"label_stock{kind}"], golden[f"probability_stock{kind}"]
    difference = np.abs(probability[1:] - stock)
    assert difference.max() <= 0.06
    assert difference.mean() <= 1e-3
    foreground = (prediction.label > 0) | (label > 0)
    assert np.count_nonzero(prediction.label != label) <= 0.005 * np.count_nonzero(foreground)


def scans_of_msd():
    folder = find_real_data("msd_hippocampus")
    if folder is None:
        pytest.skip("no scans of the Decathlon beside the checkout")
    return folder / "images"


def test_channels_keep_their_names_and_what_their_foreground_looked_like(imported, oracle):
    about = imported("two channels").bundle
    known = oracle.CHANNEL
    low, median, high = (known[key] for key in ("percentile_00_5", "median", "percentile_99_5"))
    assert about.channels == ["T1", "T2"]
    assert [found.model_dump() for found in about.uncertainty.channel_ranges] == [
        {"name": name, "low": low, "median": median, "high": high} for name in ("T1", "T2")
    ]
    assert imported("residual encoder").bundle.uncertainty.channel_ranges is None  # of one channel
