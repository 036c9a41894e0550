"""What each frame of a clip holds, and how unsure the model is in it."""

from __future__ import annotations

import numpy as np

from uncertaintyseg.review.frame_curves import frame_curves


def test_each_frame_has_its_areas_and_its_uncertainty():
    label = np.zeros((4, 3, 3), np.uint8)
    label[:2, :, 0], label[0, 0, 2] = 1, 3
    error = np.zeros(label.shape, np.float32)
    error[0, 0], error[1, 1, 1] = (0.5, 0.25, 0.01), 0.75
    found = frame_curves(label, {"error_probability": error, "entropy": error * 2}, {1: "organ", 3: "cyst"}, 0.25)
    assert found.area == {"organ": [1.5, 0.0, 0.0], "cyst": [0.0, 0.0, 0.25]}
    assert found.expected_error == [0.125, 0.25, 0.0]  # of pixels that may well be wrong, as everywhere
    assert found.uncertainty["error_probability"] == [0.041667, 0.083333, 0.000833]
    assert found.uncertainty["entropy"] == [0.083333, 0.166667, 0.001667]
