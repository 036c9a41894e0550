"""The vector that says what a case looks like to a network."""

from __future__ import annotations

import numpy as np
import torch

from Testing.Python.uncertaintyseg.tiny import IntensityBackbone
from uncertaintyseg.backbones import DynUNetBackbone
from uncertaintyseg.inference.features import pooled_features


def test_the_coarsest_tap_is_averaged_over_space_and_windows():
    torch.manual_seed(0)
    backbone = DynUNetBackbone(1, [4, 6, 8]).eval()
    windows = torch.randn(3, 1, 8, 8, 8)
    with torch.no_grad():
        with pooled_features(backbone) as features:
            for window in windows:
                backbone(window[None])
        taps = [backbone.tapped(window[None], ["up_0"])[1]["up_0"] for window in windows]
    expected = torch.cat(taps).mean((0, 2, 3, 4)).numpy()
    np.testing.assert_allclose(features.vector, expected, rtol=1e-5)
    assert features.vector.shape == (12,)


def test_a_backbone_without_taps_gives_its_last_features_and_is_left_as_it_was():
    backbone, image = IntensityBackbone(), torch.randn(1, 1, 4, 4, 4)
    with pooled_features(backbone) as features:
        backbone(image)
    backbone(image + 1)
    np.testing.assert_allclose(features.vector, image.mean(), rtol=1e-5)


def test_without_a_run_there_are_no_features():
    with pooled_features(IntensityBackbone()) as features:
        pass
    assert features.vector.size == 0
