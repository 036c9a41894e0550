"""An imported nnU-Net against nnU-Net itself: the same grid, the same network, the same answers (NETWORKS 1)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from Testing.Python.uncertaintyseg.imports.nnunet_matrix import MATRIX

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
