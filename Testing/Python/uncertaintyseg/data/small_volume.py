"""A small volume on a grid, and how a test says that reading one is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from uncertaintyseg.data.scan import read_scan
from uncertaintyseg.errors import InputError

AFFINE = np.array([[0.8, 0, 0, -10], [0, 0.8, 0, 20], [0, 0, 5, 30], [0, 0, 0, 1]])


def scan_array(shape=(6, 5, 4)):
    return np.random.default_rng(0).normal(40, 15, shape).astype(np.float32)


def oblique(degrees, spacing, origin, flip=(1, 1, 1)):
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix() * spacing * flip
    affine[:3, 3] = origin
    return affine


def itk_ras(image, index):
    x, y, z = image.TransformContinuousIndexToPhysicalPoint([float(i) for i in index])
    return -x, -y, z


def refused(path, *words, reader=read_scan, **options):
    with pytest.raises(InputError) as caught:
        reader(path, **options)
    message = str(caught.value)
    assert str(path) in message
    for word in words:
        assert word in message
    return message
