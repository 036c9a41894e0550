"""Steps of a bundle's preprocessing that are ours."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from monai.data import MetaTensor
from skimage.exposure import equalize_adapthist

from uncertaintyseg.data.transforms import EqualiseLocallyd, NormaliseChannelsd


def test_each_channel_has_its_own_scale_and_the_scan_keeps_its_place():
    affine = torch.tensor(np.diag([1.0, 2.0, 3.0, 1.0]))
    image = MetaTensor(torch.from_numpy(np.random.default_rng(0).normal(50, 9, (2, 6, 5, 4))), affine=affine)
    ct = {"scheme": "ct", "low": 40.0, "high": 60.0, "mean": 50.0, "std": 5.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = NormaliseChannelsd([ct, {"scheme": "zscore"}])({"image": image})["image"]
    first, second = image.numpy().astype(np.float64)
    assert np.allclose(found[0], (first.clip(40, 60) - 50) / 5, atol=1e-5)
    assert np.allclose(found[1], (second - second.mean()) / second.std(), atol=1e-5)
    assert torch.equal(found.affine, affine)


def test_local_contrast_is_equalised_slice_by_slice():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.gamma(2.0, 300.0, (2, 32, 24, 3)).astype(np.float32))
    image[1, ..., 2] = 5.0
    affine = torch.diag(torch.tensor([2.0, 2.0, 1.0, 1.0], dtype=torch.float64))
    found = EqualiseLocallyd(clip_limit=0.02)({"image": MetaTensor(image, affine=affine)})["image"]
    for channel, number in np.ndindex(2, 3):
        values = image[channel, ..., number].numpy()
        wanted = np.zeros_like(values)
        if values.max() > values.min():
            scaled = (values - values.min()) / (values.max() - values.min())
            wanted = equalize_adapthist(scaled, clip_limit=0.02)
        np.testing.assert_allclose(found[channel, ..., number].numpy(), wanted, atol=1e-6)
    np.testing.assert_array_equal(found.affine, affine)
    assert found[0].std() > 0.2  # which a long tail of bright pixels had pressed together
    assert ((image[0] - image[0].min()) / (image[0].max() - image[0].min())).std() < 0.2


def test_each_slice_may_set_its_own_scale():
    image = torch.from_numpy(np.random.default_rng(1).normal(50, 9, (2, 6, 5, 3)).astype(np.float32))
    image[0, ..., 1] *= 20
    found = NormaliseChannelsd([{"scheme": "zscore"}, {"scheme": "nonzero"}], by_slice=True)({"image": image})["image"]
    values = image.numpy().astype(np.float64)
    wanted = (values - values.mean((1, 2), keepdims=True)) / values.std((1, 2), keepdims=True)
    np.testing.assert_allclose(found.numpy(), wanted, atol=1e-4)
