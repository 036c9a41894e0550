"""Swapped channels are refused, and right ones never are, however an MR is scaled."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from uncertaintyseg.data.channel_checks import check_channels, swapped
from uncertaintyseg.errors import InputError

SIDE = 32
NAMES = ("T1", "CT")
T1 = SimpleNamespace(low=20.0, median=300.0, high=900.0)
CT = SimpleNamespace(low=-60.0, median=45.0, high=220.0)
PLACE = np.indices((SIDE,) * 3) - SIDE / 2 + 0.5
RADIUS = np.sqrt((PLACE**2).sum(0)) / SIDE * 2  # 1 is the edge of the field of view


def ct(seed: int) -> np.ndarray:
    """A body of fat and soft tissue with a lung or none, in Hounsfield units."""
    random = np.random.default_rng(seed)
    size = random.uniform(0.5, 0.9)
    values = np.where(size > RADIUS, -95.0, -1000.0)
    values = np.where(0.8 * size > RADIUS, random.uniform(30, 70), values)
    values = np.where(random.uniform(0, 0.4) * size > RADIUS, random.choice([-800.0, 130.0, 700.0]), values)
    return values + 12 * random.normal(size=values.shape)


def mr(seed: int, scale: float = 1.0, contrast: float = 1.0) -> np.ndarray:
    """The same body in a sequence: magnitudes, in whatever unit."""
    random = np.random.default_rng(seed)
    size = random.uniform(0.5, 0.9)
    values = np.where(size > RADIUS, 700.0 * contrast, 8.0)
    values = np.where(0.8 * size > RADIUS, 300.0 / contrast, values)
    return np.abs(values + 15 * random.normal(size=values.shape)) * scale


def scan(*channels: np.ndarray) -> MetaTensor:
    stacked = torch.from_numpy(np.stack(channels).astype(np.float32))
    return MetaTensor(stacked, affine=np.eye(4), meta={"filename_or_obj": "case_0000.nii.gz"})


def scales(count: int) -> np.ndarray:
    return 10.0 ** np.random.default_rng(0).uniform(-1, 1, size=(count, 2))


def test_right_channels_are_never_refused_whatever_an_mr_is_scaled_by():
    flair = SimpleNamespace(low=30.0, median=250.0, high=1200.0)
    for seed, (first, second) in enumerate(scales(200)):
        for known in (None, (T1, CT)):
            assert swapped(scan(mr(seed, first), ct(seed)), NAMES, known) is None
        for known in (None, (T1, flair)):
            both = scan(mr(seed, first), mr(seed + 1000, second, contrast=0.7))
            assert swapped(both, ("T1", "FLAIR"), known, "MR") is None


def test_ct_and_mr_that_are_swapped_are_always_refused():
    for seed, (first, _) in enumerate(scales(60)):
        for known in (None, (T1, CT)):
            found = swapped(scan(ct(seed), mr(seed, first)), NAMES, known)
            assert found == "T1 looks like CT and CT does not: channels swapped?"


def test_a_ct_among_sequences_of_mr_is_refused():
    for seed in range(30):
        found = swapped(scan(mr(seed), ct(seed)), ("T1", "FLAIR"), None)
        assert found == "FLAIR looks like CT: channels swapped?"


def test_names_that_say_nothing_are_told_by_what_the_structures_looked_like():
    lung = SimpleNamespace(low=-950.0, median=-700.0, high=100.0)
    names = ("channel_1", "channel_2")
    assert swapped(scan(mr(0), ct(0)), names, (T1, lung)) is None
    assert "channel_1 looks like CT and channel_2 does not" in swapped(scan(ct(0), mr(0)), names, (T1, lung))
    assert swapped(scan(ct(0), ct(1)), ("arterial", "portal"), (CT, CT)) is None
    assert swapped(scan(ct(0), mr(0)), names) is None


def test_quantities_whose_scales_lie_far_apart_are_told_by_these():
    uptake = SimpleNamespace(low=0.4, median=2.0, high=9.0)
    pet = mr(3, scale=0.01)
    assert swapped(scan(mr(0), pet), ("T1", "PET"), (T1, uptake)) is None
    found = swapped(scan(pet, mr(0)), ("T1", "PET"), (T1, uptake))
    assert found == "T1 has the intensities of PET, and PET those of T1: channels swapped?"


def test_the_message_names_the_file_the_order_and_the_way_out():
    with pytest.raises(InputError, match=r"case_0000\.nii\.gz: T1 looks like CT .* in the order T1, CT; .*--force"):
        check_channels(scan(ct(0), mr(0)), NAMES)


def test_one_image_as_two_channels_is_refused():
    with pytest.raises(InputError, match="T1 and FLAIR are the same image"):
        check_channels(scan(mr(0), mr(0)), ("T1", "FLAIR"))


def test_a_scan_of_one_channel_is_never_refused():
    check_channels(scan(ct(0)), ["T1"], [T1], "MR")
