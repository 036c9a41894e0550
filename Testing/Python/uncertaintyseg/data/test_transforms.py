"""Steps of a bundle's preprocessing that are ours."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.transforms import NormaliseChannelsd


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
