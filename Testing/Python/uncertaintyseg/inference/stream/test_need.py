"""A scan's memory is told before it starts, and one that does not fit is refused with the figures."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import psutil
import pytest

from uncertaintyseg.data.writing import write_volume
from uncertaintyseg.errors import InputError
from uncertaintyseg.inference.predictor import Predictor
from uncertaintyseg.inference.stream import MomentAverage, Need, WindowLayout, need
from uncertaintyseg.inference.stream.need import free_memory


def taken(length: int, classes: int = 118) -> Need:
    shape = (256, 256, length)
    plan = WindowLayout((96, 96, 96), 0.5).over(shape, 16)
    return need(
        plan,
        MomentAverage(None, classes),
        shape,
        features=16,
        kept=0,
        own=0,
        scalars=30,
        boxes=classes - 1,
        on_disk=True,
    )


def test_the_carry_is_a_window_s_length_of_planes_whatever_the_scan_s():
    carry = 4 * 256 * 256 * 96 * (118 + 3)
    assert carry < taken(256).device < 1.35 * carry
    assert taken(2560).device == taken(256).device
    assert taken(2560).disk == 10 * taken(256).disk


def test_a_scan_that_does_not_fit_is_refused_with_the_figures(tmp_path):
    Need(10**6, 10**6, 0).check("scan.nii", "cpu", tmp_path)
    with pytest.raises(InputError, match=r"scan\.nii: needs 5000\.0 GB of memory, \d+\.\d GB are free\. Crop it"):
        Need(4 * 10**12, 10**12, 0).check("scan.nii", "cpu", tmp_path)
    with pytest.raises(InputError, match=r"needs 1000000\.0 GB of room in"):
        Need(1, 1, 10**15).check("scan.nii", "cpu", tmp_path)


def test_what_is_left_beside_a_scan_is_what_it_does_not_take(monkeypatch):
    monkeypatch.setattr(import_module(Need.__module__), "free_memory", lambda: 1000)
    assert Need(device=300, host=500, disk=10**15).left("cpu") == 200
    assert Need(device=300, host=800, disk=0).left("cpu") == -100


def test_free_memory_is_no_more_than_the_machine_has():
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_a_header_in_other_units_is_refused_before_anything_is_resampled(tiny_bundle, tmp_path):
    values = np.random.default_rng(0).random((64, 64, 32))
    write_volume(tmp_path / "microns.nii.gz", values, np.diag([500, 500, 900, 1]))
    with pytest.raises(InputError, match=r"microns\.nii\.gz: 32000 x 32000 x 28800 mm: needs .* header in mm\?"):
        Predictor(tiny_bundle()).predict(tmp_path / "microns.nii.gz")
